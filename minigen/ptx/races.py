"""Races: two threads touch one cell, one of them writes, and nothing orders the two.

Each cell remembers who wrote it last, who read it since, and when. Two accesses are
ordered if a barrier of both threads' block, of their warp (`syncwarp`) or of the grid
lies between them. Between blocks a fence and an atomic do it too: what a block wrote
before a fence is known to a block that does an atomic later on. So a lock, or "the last
block sums", is not accused; a wrong lock may be missed. Volatile reads and writes are
let pass: they wait for others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minigen.ptx.numbers import S64

NOBODY = -1

THREAD, WARP, BLOCK, GRID = range(4)
"""How many threads have read a cell: one, or several of one warp, block, or grid."""


@dataclass
class Shadow:
    """What is known of each cell of a region, arrays of one number a cell.

    writer: number of the thread; reader: 4 times the number of the thread, warp or
    block that read it, and which of these it is; wrote, read: when; at, from_: the
    lines of the PTX; atomic: whether it was written by an atomic or a volatile store.
    """

    writer: np.ndarray
    wrote: np.ndarray
    at: np.ndarray
    atomic: np.ndarray
    reader: np.ndarray
    read: np.ndarray
    from_: np.ndarray


class Watch:
    """The clock of a launch, and when blocks and warps met, fenced and did atomics.

    grain: bytes of a cell. Threads, warps and blocks are numbered over the grid.
    """

    def __init__(self, grid, block, grain):
        self.size, blocks = math.prod(block), math.prod(grid)
        self.warps, self.grain, self.now = -(-self.size // 32), grain, 1
        self.blocks = np.zeros(blocks, S64)
        self.fenced, self.acquired = np.zeros(blocks, S64), np.zeros(blocks, S64)
        self.warp, self.grid = np.zeros(blocks * self.warps, S64), 0

    def shadow(self, region) -> Shadow:
        """Return what is known of a region's cells."""
        if region.shadow is None:
            count = -(-len(region.data) // self.grain)
            nobody, never = np.full(count, NOBODY, S64), np.zeros(count, S64)
            region.shadow = Shadow(
                nobody, never, never.copy(), np.zeros(count, bool), nobody.copy(),
                never.copy(), never.copy(),
            )  # fmt: skip
        return region.shadow

    def cells(self, byte, width):
        """Return the cells that `width` bytes from each byte on lie in, by lane."""
        first = byte // self.grain
        return first[:, None] + np.arange(-(-width // self.grain))

    def block_of(self, level, one):
        """Return the block of readers, -1 of those of several blocks."""
        # np.select says it in fewer words, and takes three times as long
        of_warp = np.where(level == WARP, one // self.warps, one)
        block = np.where(level == THREAD, one // self.size, of_warp)
        return np.where(level == GRID, NOBODY, block)

    def warp_in(self, block, thread):
        """Return the warp of threads of a block."""
        return block * self.warps + thread % self.size // 32

    def warp_of(self, level, one, block):
        """Return the warp of readers of a block, -1 of those of several warps."""
        there = np.where(level == WARP, one, self.warp_in(block, one))
        return np.where(level <= WARP, there, NOBODY)

    def ordered(self, who, code, time):
        """Say whether what `code` did at `time` comes before what threads do now."""
        level, one = code & 3, code >> 2
        block = who // self.size
        before = self.block_of(level, one)
        warp = self.warp_in(block, who)
        there = self.warp_of(level, one, before)
        met = (before == block) & (time < self.blocks[block])
        met |= (there == warp) & (time < self.warp[warp])
        known = (time <= self.fenced[before]) & (time < self.acquired[block])
        known &= before != NOBODY
        same = (level == THREAD) & (one == who)
        return same | met | known | (time < self.grid)

    def writes(self, shadow, cells, who):
        """Return (which lanes race with the last write, in which column of cells)."""
        writer, time = shadow.writer[cells], shadow.wrote[cells]
        written = writer != NOBODY
        if not written.any():
            return written
        ordered = self.ordered(who[:, None], 4 * writer, time)
        # who did an atomic since knows of the atomics before it
        block = who // self.size
        ordered |= shadow.atomic[cells] & (time <= self.acquired[block][:, None])
        return written & ~ordered

    def reads(self, shadow, cells, who):
        """Return which lanes race with the last reads, by column of cells."""
        code, time = shadow.reader[cells], shadow.read[cells]
        seen = code != NOBODY
        if not seen.any():
            return seen
        return seen & ~self.ordered(who[:, None], code, time)

    def note_read(self, shadow, cells, who, line):
        """Remember who reads now."""
        code, time = shadow.reader[cells], shadow.read[cells]
        who = np.broadcast_to(who[:, None], cells.shape)
        merged = 4 * who + THREAD
        if (code != NOBODY).any():
            merged = self._merged(code, self.ordered(who, code, time), who)
        shadow.reader[cells] = merged
        # of several lanes that read a cell now the last one stood; were they one warp?
        lost = shadow.reader[cells] != merged
        lost |= shadow.reader[cells] >> 2 != who
        lost &= shadow.reader[cells] & 3 == THREAD
        if lost.any():
            block = who // self.size
            warp = self.warp_in(block, who)
            first = shadow.reader[cells] >> 2
            there = first // self.size
            theirs = self.warp_in(there, first)
            code = np.where(
                there != block, GRID, np.where(theirs != warp, 4 * block + BLOCK, 0)
            )
            code = np.where(code == 0, 4 * warp + WARP, code)
            order = np.argsort((code[lost] & 3), kind="stable")
            shadow.reader[cells[lost][order]] = code[lost][order]
        shadow.read[cells], shadow.from_[cells] = self.now, line

    def _merged(self, code, ordered, who):
        # the code of earlier readers and this one together
        level, one = code & 3, code >> 2
        block = who // self.size
        warp = self.warp_in(block, who)
        before = self.block_of(level, one)
        there = self.warp_of(level, one, before)
        alone = (code == NOBODY) | (ordered & (before == block))
        alone |= (level == THREAD) & (one == who)
        merged = np.where(before == block, 4 * block + BLOCK, GRID)
        merged = np.where(there == warp, 4 * warp + WARP, merged)
        return np.where(alone, 4 * who + THREAD, merged)

    def note_write(self, shadow, cells, who, line, atomic):
        """Remember who writes now; what was read before is ordered before it."""
        shadow.writer[cells] = who[:, None]
        shadow.wrote[cells], shadow.at[cells] = self.now, line
        shadow.atomic[cells] = atomic
        shadow.reader[cells] = NOBODY

    def describe(self, code) -> str:
        """Return who a code stands for."""
        level, one = int(code) & 3, int(code) >> 2
        if level == THREAD:
            return f"thread {one % self.size} of block {one // self.size}"
        if level == WARP:
            return f"warp {one % self.warps} of block {one // self.warps}"
        return f"block {one}" if level == BLOCK else "several blocks"
