"""Run a translated kernel: lanes, where they are, and what they do together.

Lanes that are at the same basic block run it together, those furthest behind first: so
lanes that took different branches meet again where the branches do. Barriers, shuffles,
votes and tensor core products are basic blocks of their own, that wait for all threads
they name.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.errors import KernelError
from minigen.ptx.memory import POISON, Region, Space
from minigen.ptx.numbers import F32, F64, S64, U8, U32, U64, B

LANES = 8192
"""Lanes that run together, at most (a block of the grid is never split)."""


class Machine:
    """Blocks of a grid that run together until all their lanes have exited.

    registers: {name: array}; thread, cta, warp, lane: of each living lane its number in
    its block, its block's among these, its warp's among these, and its own in that.
    lanes: those, by their place in the arrays, that the running basic block is run for.
    """

    def __init__(self, program, grid, block, blocks, space, values, counts):
        self.program, self.counts, self.blocks = program, counts, blocks
        size, count = math.prod(block), len(blocks)
        self.thread = np.tile(np.arange(size), count)
        self.cta = np.repeat(np.arange(count), size)
        self.warp = self.thread // 32 + self.cta * -(-size // 32)
        self.lane, self.living = self.thread % 32, size * count
        self.bit = 2.0**self.lane
        self.spaces = {"global": space, "shared": self._shared(count)}
        poison = {B: np.zeros(1, B)}
        for t in {*program.registers.values()} - {B}:
            poison[t] = np.array([POISON], U64).view(t)[:1]
        self.registers = {
            n.lstrip("%"): poison[t] for n, t in program.registers.items()
        }
        self.registers |= values | {"laneid": self.lane.astype(U32)}
        self.registers["cta"] = self.cta if count > 1 else self.cta[:1]
        each = {"tid": (self.thread, block), "ctaid": (self.cta + blocks[0], grid)}
        for name, (number, sizes) in each.items():
            for axis, length in zip("xyz", sizes, strict=True):
                index = (number % length).astype(U32)
                uniform = length == 1 or (name == "ctaid" and count == 1)
                self.registers[f"{name}_{axis}"] = index[:1] if uniform else index
                self.registers[f"n{name}_{axis}"] = np.array([length], U32)
                number = number // length

    def _shared(self, count):
        regions = []
        for base, size in self.program.shared.values():
            apart = -(-size // 16) * 16
            data = np.full(count * apart // 4, POISON, U32).view(U8)
            regions.append(Region(base, size, data, apart))
        return Space(regions)

    def run(self):
        """Run until all lanes have exited, or raise KernelError."""
        blocks, here, waiting = self.program.blocks, {0: np.arange(self.living)}, {}
        while here:
            n = min(here)
            lanes = here.pop(n)
            if not blocks[n].waits:
                went = self._step(n, blocks[n], lanes)
            elif len(lanes) == self.living:
                went = self._meet({n: lanes})
            else:
                waiting[n] = _merged(waiting.get(n), lanes)
                went = self._meet(self._ready(waiting, [n]))
            if not here and not went:
                # lanes may meet at several instructions, and who exited is not missed
                for opcode in {blocks[n].last.opcode for n in waiting}:
                    those = [n for n in waiting if blocks[n].last.opcode == opcode]
                    if blocks[those[0]].waits == "warp":
                        went += self._meet(self._ready(waiting, those))
                    else:
                        for n in those:
                            went += self._meet(self._ready(waiting, [n]))
                if not went and waiting:
                    n, self.lanes = min(waiting.items())
                    places = sorted(blocks[n].last.line for n in waiting)
                    said = f"waits for ever (lines {places})"
                    self.stop("deadlock", blocks[n].last.line, 0, said)
            for target, some in went:
                if target is None:
                    self._leave(some, here, waiting)
                elif len(some):
                    here[target] = _merged(here.get(target), some)

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
        return [(target, lanes[jumps]), (block.next, lanes[~jumps])]

    def _ready(self, waiting, numbers):
        # {block: lanes} of those that wait for nobody any more
        blocks, found = self.program.blocks, {}
        lanes = np.concatenate([waiting[n] for n in numbers])
        missing = self._bits() & ~self._bits(lanes)
        incomplete = np.bincount(self.cta, minlength=len(self.blocks))
        incomplete -= np.bincount(self.cta[lanes], minlength=len(self.blocks))
        for n in numbers:
            lanes = waiting.pop(n)
            if blocks[n].waits == "block":
                ready = incomplete[self.cta[lanes]] == 0
            else:
                mask = self._mask(blocks[n], lanes)
                ready = mask.astype(S64) & missing[self.warp[lanes]] == 0
            if ready.any():
                found[n] = lanes[ready]
            if not ready.all():
                waiting[n] = lanes[~ready]
        return found

    def _mask(self, block, lanes):
        mask = self.registers.get(block.mask, self.program.namespace.get(block.mask))
        return mask if mask.size == 1 else mask[lanes]

    def _bits(self, lanes=slice(None), chosen=1.0):
        # for each warp a number whose bits say which of some lanes it has
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
            results = getattr(self, f"_{root}")(first.last.line, words, *values)
            for n, lanes in parts.items():
                mine, place = place[: len(lanes)], place[len(lanes) :]
                for name, value in zip(blocks[n].gives, results, strict=False):
                    kind = self.program.registers["%" + name]
                    self._set(name, lanes, value[mine].view(kind))
        if len(parts) > 1 and self.counts is not None:
            lines = [blocks[n].last.line for n in parts]
            self.counts.note_meeting(lines, [self.warp[n] for n in parts.values()])
        return [(blocks[n].next, lanes) for n, lanes in parts.items()]

    def _shfl(self, line, words, a, b, c):
        # another lane's a, and whether its number was in range
        lane, b, c = self.lane[self.lanes], b.astype(S64) & 31, c.astype(S64)
        segment = c >> 8 & 31
        least, most = lane & segment, lane & segment | c & 31 & ~segment
        mode = words[1]
        source = {"up": lane - b, "down": lane + b, "bfly": lane ^ b}.get(mode)
        if source is None:
            source = least | b & ~segment
        valid = source >= most if mode == "up" else source <= most
        source = np.where(valid, source, lane)
        place = np.full((self.warp[-1] + 1, 32), -1)
        place[self.warp[self.lanes], lane] = np.arange(len(lane))
        source = place[self.warp[self.lanes], source]
        if (source < 0).any():
            lane = int(np.argmin(source))
            self.stop("mask", line, lane, "reads from a lane that is not there")
        return a[source], valid

    def _vote(self, line, words, a):
        # which lanes of the warp say yes
        return [self._bits(self.lanes, a)[self.warp[self.lanes]].astype(U32)]

    def _mma(self, line, words, *brought):
        # c + a b for the matrices that each warp holds: register i of a and b holds
        # elements 2i and 2i + 1 of the lane's fragment, register i of c element i, in
        # the rows and columns that the section named above says
        n = len(self.lanes) // 32
        halves = [half for w in brought[:6] for half in (w << 16, w >> 16 << 16)]
        fragment = np.stack(halves, axis=1).view(F32).reshape(n, 32, 12).astype(F64)
        a, b, c = np.empty((n, 16, 16)), np.empty((n, 16, 8)), np.empty((n, 16, 8))
        group, member = np.arange(32)[:, None] >> 2, np.arange(32)[:, None] % 4
        i = np.arange(8)
        row = group + np.where((i < 2) | ((i >= 4) & (i < 6)), 0, 8)
        a[:, row, 2 * member + (i & 1) + np.where(i < 4, 0, 8)] = fragment[:, :, :8]
        i = np.arange(4)
        row = 2 * member + (i & 1) + np.where(i < 2, 0, 8)
        b[:, row, np.broadcast_to(group, row.shape)] = fragment[:, :, 8:]
        row, column = group + np.where(i < 2, 0, 8), 2 * member + (i & 1)
        c[:, row, column] = np.stack(brought[6:], axis=1).view(F32).reshape(n, 32, 4)
        d = (c + a @ b)[:, row, column].reshape(-1, 4).astype(F32)
        return [np.ascontiguousarray(d[:, k]) for k in range(4)]

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
        for name in ("thread", "cta", "warp", "lane", "bit"):
            setattr(self, name, getattr(self, name)[stay])

    # what translated instructions call

    def load(self, line, space, cta, dtype, count, address, constant):
        """Return `count` numbers from each lane's address on."""
        width = dtype.itemsize * count
        parts = self._locate(line, space, cta, address, width, False)
        if constant:
            self.spaces[space].constant.update(region.base for _, region, _ in parts)
        if len(parts) == 1:
            _, region, cell = parts[0]
            return [
                region.cells(dtype)[cell // dtype.itemsize + k] for k in range(count)
            ]
        values = np.empty((count, len(address)), dtype)
        for lanes, region, cell in parts:
            for k in range(count):
                values[k, lanes] = region.cells(dtype)[cell // dtype.itemsize + k]
        return values

    def store(self, line, space, cta, dtype, address, *values):
        """Write numbers from each lane's address on."""
        width = dtype.itemsize * len(values)
        for lanes, region, cell in self._locate(line, space, cta, address, width, True):
            cells = region.cells(dtype)
            for k, value in enumerate(values):
                if lanes is not None and value.size > 1:
                    value = value[lanes]
                at, value = np.broadcast_arrays(cell // dtype.itemsize + k, value)
                cells[at] = value
                lost = (cells[at] != value) & (value == value)
                if lost.any():
                    lane = int(np.argmax(lost))
                    said = "another lane writes something else there"
                    self.stop("race", line, lane, said)
            self.spaces[space].written.add(region.base)

    def _locate(self, line, space, cta, address, width, store):
        # [(lanes or None, region, byte in its data)]

        def stop(kind, lane, why):
            said = f"0x{int(address[lane]):x} in {space} memory: {why}"
            self.stop(kind, line, lane, said)

        parts = self.spaces[space].locate(address, width, stop)
        if self.counts is not None:
            self.counts.note_access(line, space, self, address, width, store)
        if space == "global":
            return parts
        found = []
        for lanes, region, cell in parts:
            copy = cta if lanes is None or cta.size == 1 else cta[lanes]
            found.append((lanes, region, cell + copy * region.apart))
        return found

    def stop(self, kind, line, lane, message):
        """Raise KernelError for a lane of those that run."""
        at = self.lanes[min(lane, len(self.lanes) - 1)]
        all_ = (i for block in self.program.blocks for i in block.instructions)
        instruction = next(i for i in all_ if i.line == line)
        thread, block = int(self.thread[at]), self.blocks[int(self.cta[at])]
        said = f"thread {thread} of block {block}: {message}\n  line {line}: "
        said += instruction.text
        if instruction.place:
            file, number = instruction.place
            said += f"\n  {self.program.files.get(file, '')}:{number}"
        raise KernelError(kind, said)


def _merged(lanes, others):
    return others if lanes is None else np.sort(np.concatenate([lanes, others]))
