"""Run a translated kernel: lanes, where they are, and what they do together.

Lanes that are at the same basic block run it together, those furthest behind first: so
lanes that took different branches meet again where the branches do. Barriers, shuffles,
votes and tensor core products are basic blocks of their own, that wait for all threads
they name.
"""

from __future__ import annotations

import linecache
import math
import os
from dataclasses import dataclass, field

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minigen.errors import KernelError
from minigen.ptx.memory import POISON, Memory, Region, copies
from minigen.ptx.numbers import S64, TYPES, U8, U32, U64, B
from minigen.ptx.races import NOBODY, Watch
from minigen.ptx.together import TOGETHER
from minigen.simt.pattern import is_poison
from minigen.words import say

LANES = 8192
"""Lanes that run together, at most (a block of the grid is never split)."""

PATIENCE = 2_000_000
"""Basic blocks that a launch may run until it is taken for one that never ends."""

SHARED = 48 * 1024
"""Bytes of shared memory that a block may have."""


@dataclass
class Launch:
    """What all groups of blocks of a launch have in common.

    memory: the regions of the arguments and of the module; ran: how many basic blocks
    were run; race: the first one that was found, a message.
    """

    program: object
    grid: tuple
    block: tuple
    memory: list
    counts: object = None
    dynamic: int = 0
    watch: object = None
    patience: int = PATIENCE
    ran: int = field(default=0, init=False)
    race: str = field(default="", init=False)

    def __post_init__(self):
        if self.watch:
            self.watch = Watch(self.grid, self.block, self.program.grain)


class Machine:
    """Blocks of a grid that run together until all their lanes have exited.

    registers: {name: array}; thread, cta, warp, lane, home: of each living lane its
    number in its block, its block's among these, its warp's among these, its own in
    that, and its own among all lanes at first. lanes: those, by their place in the
    arrays, that the running basic block is run for; tried: whether they have just done
    what one does again and again until another thread has done something.
    """

    def __init__(self, launch, blocks, values):
        self.launch, self.program, self.counts = launch, launch.program, launch.counts
        self.blocks, self.watch = blocks, launch.watch
        self.size, count = math.prod(launch.block), len(blocks)
        self.thread = np.tile(np.arange(self.size), count)
        self.cta = np.repeat(np.arange(count), self.size)
        self.warp = self.thread // 32 + self.cta * -(-self.size // 32)
        self.lane, self.living = self.thread % 32, self.size * count
        self.bit, self.home = 2.0**self.lane, np.arange(self.size * count)
        self.memory, self.tried = Memory(launch.memory + self._own(count)), False
        self.registers = self._poisoned() | values | self._special(blocks)

    def _own(self, count):
        shared = copies(self.program, "shared", count, self.launch.dynamic)
        size = sum(region.size for region in shared)
        if size > SHARED:
            said = f"a block takes {size} bytes of shared memory; {SHARED} are there"
            raise KernelError("shared memory", said)
        return shared + copies(self.program, "local", count * self.size)

    def _poisoned(self):
        # what nothing was written to
        poison = {B: np.zeros(1, B)}
        for t in {*self.program.registers.values()} - {B}:
            poison[t] = np.array([POISON], U64).view(t)[:1]
        registers = self.program.registers.items()
        return {_variable(name): poison[kind] for name, kind in registers}

    def _special(self, blocks):
        grid, block, lane = self.launch.grid, self.launch.block, self.lane.astype(U32)
        found = {"laneid": lane, "warpid": (self.thread // 32).astype(U32)}
        found["nwarpid"] = np.array([-(-self.size // 32)], U32)
        found["dynamic_smem_size"] = np.array([self.launch.dynamic], U32)
        bit = U32.type(1) << lane
        found["lanemask_eq"], found["lanemask_lt"] = bit, bit - U32.type(1)
        found["lanemask_le"], found["lanemask_ge"] = bit | bit - U32.type(1), -bit
        found["lanemask_gt"] = -bit ^ bit
        each = {"tid": (self.thread, block), "ctaid": (self.cta + blocks[0], grid)}
        for name, (number, sizes) in each.items():
            for axis, length in zip("xyz", sizes, strict=True):
                index = (number % length).astype(U32)
                uniform = length == 1 or (name == "ctaid" and len(blocks) == 1)
                found[f"{name}_{axis}"] = index[:1] if uniform else index
                found[f"n{name}_{axis}"] = np.array([length], U32)
                number = number // length
        return found

    def run(self):
        """Run until all lanes have exited, or raise KernelError."""
        blocks, here, waiting = self.program.blocks, {0: np.arange(self.living)}, {}
        while here or waiting:
            if not here:
                went = self._release(waiting)
            else:
                # who has tried an atomic may wait for one that is further on
                n = max(here) if self.tried else min(here)
                self.tried, lanes = False, here.pop(n)
                self._lose_patience(blocks[n], lanes)
                if not blocks[n].waits:
                    went = self._step(n, blocks[n], lanes)
                else:
                    waiting[n] = _merged(waiting.get(n), lanes)
                    went = self._meet(self._ready(waiting, [n]))
            for target, some in went:
                if target is None:
                    self._leave(some, here, waiting)
                elif len(some):
                    here[target] = _merged(here.get(target), some)
        if self.launch.race:
            raise KernelError("race", self.launch.race)

    def _lose_patience(self, block, lanes):
        self.launch.ran += 1
        if self.launch.ran > self.launch.patience:
            self.lanes = lanes
            said = f"the kernel has not ended after {self.launch.patience} basic blocks"
            self.stop("endless", block.last.line, 0, said)

    def _release(self, waiting):
        # lanes may meet at several instructions, and who exited is not missed
        blocks, went = self.program.blocks, []
        for opcode in {blocks[n].last.opcode for n in waiting}:
            those = [n for n in waiting if blocks[n].last.opcode == opcode]
            if blocks[those[0]].waits == "warp":
                went += self._meet(self._ready(waiting, those))
            else:
                for n in those:
                    went += self._meet(self._ready(waiting, [n]))
        if not went:
            self._deadlock(waiting)
        return went

    def _deadlock(self, waiting):
        blocks = self.program.blocks
        n, self.lanes = min(waiting.items())
        places = [self._place(blocks[n].last.line) for n in sorted(waiting)]
        whom = {blocks[n].waits for n in waiting}
        kind = "deadlock" if len(whom) > 1 else "mask"
        if whom == {"block"}:
            kind = "divergent barrier"
        said = "waits for ever, others wait elsewhere" + "".join(places[1:])
        if len(waiting) == 1:
            said = "waits for ever, others it waits for never come"
        self.stop(kind, blocks[n].last.line, 0, said)

    def _values(self, block, lanes):
        values = [self.registers[name] for name in block.reads]
        if len(lanes) == self.living:
            return values
        return [v if v.size == 1 else v[lanes] for v in values]

    def _set(self, name, lanes, value):
        if len(lanes) < self.living:
            whole = np.empty(self.living, value.dtype)
            whole[:] = self.registers[name]
            whole[lanes] = value
            value = whole
        self.registers[name] = value

    def _step(self, n, block, lanes):
        # run a basic block; return (block, lanes) for where lanes go on
        self.lanes = lanes
        if self.counts is not None:
            self.counts.note_block(n, self)
        results = block.run(self, *self._values(block, lanes))
        for name, value in zip(block.writes, results, strict=False):
            self._set(name, lanes, value)
        if not block.branch:
            return [(block.next, lanes)]
        _, value, target = block.branch
        jumps = results[-1] == value
        if jumps.size == 1:
            return [(target if jumps[0] else block.next, lanes)]
        if self.counts is not None:
            self.counts.note_branch(block.last.line, self, jumps)
        # those that go on first: who leaves changes the numbers of the others
        parts = [(target, lanes[jumps]), (block.next, lanes[~jumps])]
        return sorted(parts, key=lambda part: part[0] is None)

    def _ready(self, waiting, numbers):
        # {block: lanes} of those that wait for nobody any more
        blocks, found = self.program.blocks, {}
        lanes = np.concatenate([waiting[n] for n in numbers])
        missing = self.bits() & ~self.bits(lanes)
        incomplete = np.bincount(self.cta, minlength=len(self.blocks))
        incomplete -= np.bincount(self.cta[lanes], minlength=len(self.blocks))
        for n in numbers:
            lanes = waiting.pop(n)
            if blocks[n].waits == "grid":
                ready = np.full(len(lanes), len(lanes) == self.living)
            elif blocks[n].waits == "block":
                ready = incomplete[self.cta[lanes]] == 0
                self._expect_all(blocks[n], lanes[ready])
            else:
                mask = self._mask(blocks[n], lanes)
                self._expect_own(blocks[n], mask, lanes)
                ready = mask.astype(S64) & missing[self.warp[lanes]] == 0
            if ready.any():
                found[n] = lanes[ready]
            if not ready.all():
                waiting[n] = lanes[~ready]
        return found

    def _expect_all(self, block, lanes):
        # a barrier is for all threads of a block, also for those that have exited
        arrived = np.bincount(self.cta[lanes], minlength=len(self.blocks))
        short = (arrived > 0) & (arrived < self.size)
        if short.any():
            n = int(np.argmax(short))
            self.lanes = lanes[self.cta[lanes] == n]
            said = f"{arrived[n]} of {self.size} threads arrived at the barrier; the "
            self.stop("divergent barrier", block.last.line, 0, said + "others exited")

    def _expect_own(self, block, mask, lanes):
        own = mask >> self.lane[lanes].astype(U32) & U32.type(1)
        if not own.all():
            self.lanes = lanes
            said = "is not named by the mask that it gives"
            self.stop("mask", block.last.line, int(np.argmin(own)), said)

    def _mask(self, block, lanes):
        mask = self.registers.get(block.mask, self.program.namespace.get(block.mask))
        return mask if mask.size == 1 else mask[lanes]

    def bits(self, lanes=slice(None), chosen=1.0):
        """Return for each warp a number whose bits say which of some lanes it has."""
        weights, most = chosen * self.bit[lanes], int(self.warp[-1]) + 1
        return np.bincount(self.warp[lanes], weights, most).astype(S64)

    def _meet(self, parts):
        # lanes do together what they waited for; parts: {block: lanes}
        if not parts:
            return []
        blocks, brought = self.program.blocks, []
        for n, lanes in parts.items():
            self.lanes = lanes
            if self.counts is not None:
                self.counts.note_block(n, self)
            values = blocks[n].run(self, *self._values(blocks[n], lanes))
            brought.append([np.broadcast_to(v, lanes.shape) for v in values])
        first = blocks[next(iter(parts))]
        if first.gives:
            lanes = np.concatenate([*parts.values()])
            order = np.argsort(lanes, kind="stable")
            place = np.empty_like(order)
            place[order] = np.arange(len(order))
            self.lanes = lanes[order]
            values = [
                np.concatenate(part)[order] for part in zip(*brought, strict=True)
            ]
            root, *words = first.last.opcode.split(".")
            results = TOGETHER[root](self, first.last.line, words, *values)
            for n, lanes in parts.items():
                mine, place = place[: len(lanes)], place[len(lanes) :]
                for (name, kind), value in zip(
                    blocks[n].gives.items(), results, strict=False
                ):
                    self._set(name, lanes, value[mine].view(kind))
        if self.watch:
            self._note_barrier(first, parts)
        if len(parts) > 1 and self.counts is not None:
            lines = [blocks[n].last.line for n in parts]
            self.counts.note_meeting(lines, [self.warp[n] for n in parts.values()])
        return [(blocks[n].next, lanes) for n, lanes in parts.items()]

    def _note_barrier(self, first, parts):
        # neither a shuffle nor a vote is a barrier for memory
        watch, lanes = self.watch, np.concatenate([*parts.values()])
        watch.now += 1
        who = self._who(lanes)
        if first.waits == "grid":
            watch.grid = watch.now
        elif first.waits == "block":
            watch.blocks[who // self.size] = watch.now
        elif first.last.opcode == "bar.warp.sync":
            block = who // self.size
            watch.warp[block * watch.warps + who % self.size // 32] = watch.now

    def _who(self, lanes=slice(None)):
        # the numbers of threads over the whole grid
        return (self.cta[lanes] + self.blocks[0]) * self.size + self.thread[lanes]

    def _leave(self, lanes, *places):
        # lanes have exited: leave them out of all arrays
        stay = np.ones(self.living, bool)
        stay[lanes] = False
        self.living -= len(lanes)
        if not self.living:
            return
        number = np.cumsum(stay) - 1
        for group in places:
            group.update({n: number[others] for n, others in group.items()})
        for name, value in self.registers.items():
            if value.size > 1:
                self.registers[name] = value[stay]
        for name in ("thread", "cta", "warp", "lane", "bit", "home"):
            setattr(self, name, getattr(self, name)[stay])

    # what translated instructions call

    def load(self, line, space, dtype, count, address, constant, volatile):
        """Return `count` numbers from each lane's address on."""
        width = dtype.itemsize * count
        parts = self._locate(line, space, address, width, False)
        self.tried |= volatile
        if constant:
            for _, region, _ in parts:
                region.constant = True
        cells = [region.cells(dtype) for _, region, _ in parts]
        first = [cell // dtype.itemsize for *_, cell in parts]
        if len(parts) == 1:
            values = [cells[0][first[0] + k] for k in range(count)]
        else:
            values = np.empty((count, len(address)), dtype)
            for (lanes, *_), some, at in zip(parts, cells, first, strict=True):
                for k in range(count):
                    values[k, lanes] = some[at + k]
        if self.watch:
            for lanes, region, cell in parts:
                self._watch_read(line, region, lanes, cell, width, volatile)
            self._watch_value(line, values, parts)
        return values

    def store(self, line, space, dtype, volatile, address, *values):
        """Write numbers from each lane's address on."""
        width = dtype.itemsize * len(values)
        for lanes, region, cell in self._locate(line, space, address, width, True):
            cells = region.cells(dtype)
            mine = [v if lanes is None or v.size == 1 else v[lanes] for v in values]
            if self.watch:
                self._watch_write(line, region, lanes, cell, width, volatile)
            for k, value in enumerate(mine):
                at, value = np.broadcast_arrays(cell // dtype.itemsize + k, value)
                cells[at] = value
                lost = (cells[at] != value) & (value == value)
                if lost.any():
                    lane = int(np.argmax(lost))
                    lane = lane if lanes is None else int(lanes[lane])
                    said = "another lane writes something else there"
                    self.stop("race", line, lane, said)
            region.written = True

    def atomic(self, line, space, operation, dtype, address, *values):
        """Change the number at each lane's address, one lane after the other."""
        width, count = dtype.itemsize, len(self.lanes)
        self.tried |= operation in ("cas", "exch")
        # a lane counts also where all have the same address and the same value
        address = np.broadcast_to(address, (count,))
        values = [np.broadcast_to(value, (count,)) for value in values]
        before = np.empty(count, dtype)
        for lanes, region, cell in self._locate(line, space, address, width, True):
            lanes = np.arange(count) if lanes is None else lanes
            cells, at = region.cells(dtype), np.broadcast_to(cell // width, lanes.shape)
            if self.watch:
                self._watch_atomic(line, region, lanes, cell, width)
            order = np.argsort(at, kind="stable")
            first = np.searchsorted(at[order], at[order])
            turn = np.arange(len(order)) - first
            for n in range(int(turn.max()) + 1):
                chosen = order[turn == n]
                mine, place = lanes[chosen], at[chosen]
                before[mine] = cells[place]
                given = [value[mine] for value in values]
                cells[place] = ATOMIC[operation](cells[place], *given)
            region.written = True
        return before

    def fence(self):
        """What was written so far is known to who does an atomic later on."""
        if self.watch:
            self.watch.fenced[self._who(self.lanes) // self.size] = self.watch.now
            self.watch.now += 1

    def active(self):
        """Return which lanes of the warp run this together."""
        return self.bits(self.lanes)[self.warp[self.lanes]].astype(U32)

    def clock(self):
        """Return a number that grows."""
        return np.array([self.launch.ran], U64)

    def allocate(self, sizes):
        """Return for each lane the address of what NRT notes of new memory for it.

        That is 40 bytes, of which the fourth number is the memory's address; the memory
        itself follows after 64, and is there until the blocks have run.
        """
        sizes = np.broadcast_to(sizes, (len(self.lanes),)).astype(S64)
        step = -(-int(sizes.max()) // 64) * 64 + 64
        data = np.full((len(sizes) + 1) * step // 4, POISON, U32).view(U8)
        base = data.__array_interface__["data"][0]
        data = data[-base % 64 :][: len(sizes) * step]
        base += -base % 64
        starts = base + step * np.arange(len(sizes))
        notes = data.view(S64).reshape(len(sizes), -1)
        notes[:, :3], notes[:, 3], notes[:, 4] = (1, 0, 0), starts + 64, sizes
        name = "memory that the kernel allocates"
        region = Region(base, len(data), data, "global", name)
        self.memory = Memory([*self.memory.regions, region])
        return starts.view(U64)

    def reshaped(self, line, *given):
        """Do for each lane what `numba_attempt_nocopy_reshape` does.

        given: axes, addresses of their sizes and strides, new axes, addresses of their
        sizes and (to be written) strides, bytes of an element, and whether the order is
        Fortran's. Returns 1, or 0 where the elements would have to be copied.
        """
        lanes = self.lanes
        given = [np.broadcast_to(v, (len(lanes),)) for v in given]
        done = np.zeros(len(lanes), U32)
        for n in range(len(lanes)):
            self.lanes = lanes[n : n + 1]
            one = [int(v[n]) for v in given]
            count, sizes, strides, new_count, new_sizes, target, width, fortran = one

            def read(address, count):
                return [int(self._word(line, address + 8 * k)) for k in range(count)]

            new = read(new_sizes, new_count)
            array = as_strided(
                np.empty(1, f"V{width}"), read(sizes, count), read(strides, count)
            )
            if array.size != math.prod(new):
                continue
            array = array.T if fortran else array
            try:
                # in place, or not at all
                array.shape = new[::-1] if fortran else new
            except AttributeError:
                continue
            found = (array.T if fortran else array).strides
            for k, stride in enumerate(found):
                address = np.array([target + 8 * k], U64)
                self.store(line, None, S64, True, address, np.array([stride], S64))
            done[n] = 1
        self.lanes = lanes
        return done

    def _word(self, line, address):
        address = np.array([address], U64)
        return self.load(line, None, S64, 1, address, False, True)[0][0]

    def lies_in(self, space, address):
        """Say whether addresses lie in a space."""
        parts = self.memory.locate(address, 1, None, lambda *_: None)
        found = np.zeros(len(address), bool)
        for lanes, region, _ in parts:
            found[slice(None) if lanes is None else lanes] = region.space == space
        return found

    def print(self, line, text, values):
        """Print what each lane gives to C's printf, in lane order."""
        count = len(self.lanes)
        text, values = (np.broadcast_to(v, (count,)) for v in (text, values))
        lines, lanes = [], self.lanes
        for n in range(count):
            self.lanes = lanes[n : n + 1]
            lines.append(self._formatted(line, text[n : n + 1], values[n : n + 1]))
        self.lanes = lanes
        say(*"".join(lines).splitlines())

    def _formatted(self, line, text, values):
        given, form, at = [], self._text(line, text), values
        for word in form.split("%")[1:]:
            kind = next(c for c in word if c.isalpha() and c != "l")
            dtype = TYPES[
                "f64" if kind in "fge" else "s64" if "ll" in word[:4] else "s32"
            ]
            if kind == "s":
                address = self.load(line, None, U64, 1, _aligned(at, 8), False, True)[0]
                given.append(self._text(line, address))
                at = _aligned(at, 8) + U64.type(8)
                continue
            at = _aligned(at, dtype.itemsize)
            given.append(self.load(line, None, dtype, 1, at, False, True)[0][0])
            at = at + U64.type(dtype.itemsize)
        return form.replace("ll", "") % tuple(given)

    def _text(self, line, address):
        # the bytes up to a zero
        found = bytearray()
        while not found or found[-1]:
            found += bytes(
                self.load(line, None, TYPES["u8"], 1, address, False, True)[0]
            )
            address = address + U64.type(1)
        return found[:-1].decode(errors="replace")

    def _locate(self, line, space, address, width, store):
        # [(lanes or None, region, byte in its data)]
        def stop(kind, lane, why):
            said = f"0x{int(address[lane]):x} in {space or 'any'} memory: {why}"
            self.stop(kind, line, lane, said)

        parts, found = self.memory.locate(address, width, space, stop), []
        for lanes, region, cell in parts:
            # of lanes that touch several arrays all are counted with the first
            if self.counts is not None and not found:
                self.counts.note_access(line, region.space, self, address, width, store)
            if region.apart:
                cell = cell + self._copy(region, lanes) * region.apart
            found.append((lanes, region, cell))
        return found

    def _copy(self, region, lanes):
        # which block's or thread's copy each lane means
        if region.space == "shared" and len(self.blocks) == 1:
            return 0
        own = self.cta if region.space == "shared" else self.home
        own = own[self.lanes]
        return own if lanes is None else own[lanes]

    # races

    def _watched(self, region, lanes, cell, width):
        # (shadow, cells by lane, numbers of the threads), or None
        if region.space not in ("shared", "global"):
            return None
        who = self._who(self.lanes)
        who = who if lanes is None else who[lanes]
        cells = self.watch.cells(np.broadcast_to(cell, who.shape), width)
        return self.watch.shadow(region), cells, who

    def _watch_read(self, line, region, lanes, cell, width, volatile):
        if (found := self._watched(region, lanes, cell, width)) is None:
            return
        shadow, cells, who = found
        if not volatile:
            never = shadow.writer[cells] == NOBODY
            if region.space == "shared" and never.any():
                lane = int(np.argmax(never.any(axis=1)))
                lane = lane if lanes is None else int(lanes[lane])
                said = f"reads {region.name}, where nobody has written"
                self.stop("uninitialised", line, lane, said)
            racing = self.watch.writes(shadow, cells, who)
            self._accuse(line, region, racing, cells, who, "reads", False)
            self.watch.note_read(shadow, cells, who, line)
        self.watch.now += 1

    def _watch_value(self, line, values, parts):
        # what the launch has not written and still holds the pattern of new memory
        if len(parts) > 1 or parts[0][1].space != "global":
            return
        (_, region, cell), first = parts[0], values[0]
        poison = is_poison(np.atleast_1d(first))
        if poison.any():
            cell, poison = np.broadcast_arrays(cell, poison)
            written = self.watch.shadow(region).writer[cell // self.watch.grain]
            poison = poison & (written == NOBODY)
            if poison.any():
                said = f"reads {region.name}, where nobody has written"
                self.stop("uninitialised", line, int(np.argmax(poison)), said)

    def _watch_write(self, line, region, lanes, cell, width, volatile):
        if (found := self._watched(region, lanes, cell, width)) is None:
            return
        shadow, cells, who = found
        if not volatile:
            racing = self.watch.writes(shadow, cells, who)
            self._accuse(line, region, racing, cells, who, "writes", False)
            racing = self.watch.reads(shadow, cells, who)
            self._accuse(line, region, racing, cells, who, "writes", True)
        self.watch.note_write(shadow, cells, who, line, volatile)
        if not volatile:
            # of several lanes that write to a cell now the last one stands
            racing = shadow.writer[cells] != who[:, None]
            self._accuse(line, region, racing, cells, who, "writes", False)
        self.watch.now += 1

    def _watch_atomic(self, line, region, lanes, cell, width):
        if (found := self._watched(region, lanes, cell, width)) is None:
            return
        shadow, cells, who = found
        racing = self.watch.writes(shadow, cells, who) & ~shadow.atomic[cells]
        self._accuse(line, region, racing, cells, who, "changes", False)
        self.watch.note_write(shadow, cells, who, line, True)
        self.watch.acquired[who // self.size] = self.watch.now
        self.watch.now += 1

    def _accuse(self, line, region, racing, cells, who, does, of_reader):
        if self.launch.race or not racing.any():
            return
        n, k = np.unravel_index(int(np.argmax(racing)), racing.shape)
        shadow, cell = region.shadow, cells[n, k]
        code = shadow.reader[cell] if of_reader else 4 * shadow.writer[cell]
        other = int((shadow.from_ if of_reader else shadow.at)[cell])
        did = "read" if of_reader else "changed" if shadow.atomic[cell] else "wrote"
        one, two = self.watch.describe(code), self.watch.describe(4 * who[n])
        byte = int(cell) * self.watch.grain
        byte = byte % region.apart if region.apart else byte
        # told when nothing worse comes of it: a barrier that some do not reach
        self.launch.race = (
            f"on byte {byte} of {region.name}: {one} {did} it, {two} {does} it, and "
            f"nothing orders the two{self._place(other)}{self._place(line)}"
        )

    # faults

    def stop(self, kind, line, lane, message):
        """Raise KernelError for a lane of those that run."""
        if self.launch.race and kind not in ("divergent barrier", "deadlock"):
            raise KernelError("race", self.launch.race)
        at = self.lanes[min(lane, len(self.lanes) - 1)]
        thread, block = int(self.thread[at]), self.blocks[int(self.cta[at])]
        said = f"thread {thread} of block {block}: {message}{self._place(line)}"
        raise KernelError(kind, said)

    def _place(self, line):
        # where an instruction stands, in the source and in the PTX
        place, said = self.program.place_of(line), ""
        if place:
            text = linecache.getline(*place).strip()
            said = f"\n  at {os.path.basename(place[0] or '')}:{place[1]}: {text}"
        return f"{said}\n  PTX {line}: {self.program.instruction(line).text}"


def _counted(old, most, up):
    # inc and dec begin anew at the end
    if up:
        return np.where(old >= most, 0, old + old.dtype.type(1)).astype(old.dtype)
    return np.where((old == 0) | (old > most), most, old - old.dtype.type(1))


ATOMIC = {
    "add": lambda old, value: old + value,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "exch": lambda old, value: value,
    "cas": lambda old, wanted, value: np.where(old == wanted, value, old),
    "inc": lambda old, most: _counted(old, most, True),
    "dec": lambda old, most: _counted(old, most, False),
}


def _aligned(address, size):
    return address + U64.type(size - 1) & ~U64.type(size - 1)


def _variable(name):
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name.lstrip("%"))


def _merged(lanes, others):
    return others if lanes is None else np.sort(np.concatenate([lanes, others]))
