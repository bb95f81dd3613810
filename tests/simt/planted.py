"""Kernels with one bug each, and beside each the same kernel without it.

The first of a pair must be refused with the kind, the threads and the lines that BUGS
says; the second must pass under every schedule.
"""

from dataclasses import dataclass

import numpy as np

from minigen.ops.intrinsics import load16
from minigen.target import cuda


@dataclass(frozen=True)
class Bug:
    """kind: what it is called; says: what the message must hold, lines included."""

    wrong: object
    right: object
    kind: str
    says: tuple
    grid: int = 1
    block: int = 64
    # whether Numba's compiler, where it is installed, refuses the kernel before that
    refused: bool = False
    arrays: tuple = ((64,), (64,))


# a tree that does not wait between its levels


def tree(x, y):
    partial = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    partial[i] = x[i]
    cuda.syncthreads()
    half = 32
    while half > 0:
        if i < half:
            partial[i] += partial[i + half]
        half //= 2
    if i == 0:
        y[0] = partial[0]


def tree_mended(x, y):
    partial = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    partial[i] = x[i]
    cuda.syncthreads()
    half = 32
    while half > 0:
        if i < half:
            partial[i] += partial[i + half]
        cuda.syncthreads()
        half //= 2
    if i == 0:
        y[0] = partial[0]


# a value read before the thread that brings it has come


def early(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[i]
    y[i] = tile[63 - i]


def early_mended(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[i]
    cuda.syncthreads()
    y[i] = tile[63 - i]


# the memory of one turn overwritten while slower threads still read it


def reuse(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    for turn in range(2):
        tile[i] = x[i] + np.float32(turn)
        cuda.syncthreads()
        y[i] = tile[63 - i]


def reuse_mended(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    for turn in range(2):
        tile[i] = x[i] + np.float32(turn)
        cuda.syncthreads()
        y[i] = tile[63 - i]
        cuda.syncthreads()


# lanes of one warp that trust it to run in step


def in_step(x, y):
    tile = cuda.shared.array(32, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[i]
    y[i] = tile[i ^ 1]


def in_step_mended(x, y):
    tile = cuda.shared.array(32, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[i]
    cuda.syncwarp()
    y[i] = tile[i ^ 1]


# a meeting of the warp, where other warps take part as well


def other_warp(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[i]
    cuda.syncwarp()
    y[i] = tile[i ^ 32]


def other_warp_mended(x, y):
    tile = cuda.shared.array(64, np.float32)
    i = cuda.threadIdx.x
    tile[i] = x[i]
    cuda.syncthreads()
    y[i] = tile[i ^ 32]


# a sum over blocks in global memory


def total(x, y):
    i = cuda.grid(1)
    if i % 32 == 0:
        y[0] += x[i]


def total_mended(x, y):
    i = cuda.grid(1)
    if i % 32 == 0:
        cuda.atomic.add(y, 0, x[i])


# blocks that read what other blocks write


def shift(x, y):
    i = cuda.grid(1)
    x[i] = x[(i + 1) % 64]
    y[i] = np.float32(0)


def shift_mended(x, y):
    i = cuda.grid(1)
    value = x[(i + 1) % 64]
    cuda.cg.this_grid().sync()
    x[i] = value
    y[i] = np.float32(0)


# an atomic in one thread, an ordinary write in another


def reset(x, y):
    i = cuda.threadIdx.x
    if i == 40:
        y[0] = np.float32(0)
    cuda.atomic.add(y, 0, x[i])


def reset_mended(x, y):
    i = cuda.threadIdx.x
    if i == 40:
        y[0] = np.float32(0)
    cuda.syncthreads()
    cuda.atomic.add(y, 0, x[i])


# the last block adds up what all blocks wrote, and must know that they wrote it


def last_block(x, y):
    tile = cuda.shared.array(1, np.int64)
    i, b = cuda.threadIdx.x, cuda.blockIdx.x
    if i == 0:
        y[b] = x[b]
        tile[0] = cuda.atomic.add(y, 63, np.float32(1))
    cuda.syncthreads()
    if tile[0] == cuda.gridDim.x - 1 and i == 1:
        y[62] = y[0] + y[1]


def last_block_mended(x, y):
    tile = cuda.shared.array(1, np.int64)
    i, b = cuda.threadIdx.x, cuda.blockIdx.x
    if i == 0:
        y[b] = x[b]
        cuda.threadfence()
        tile[0] = cuda.atomic.add(y, 63, np.float32(1))
    cuda.syncthreads()
    if tile[0] == cuda.gridDim.x - 1 and i == 1:
        y[62] = y[0] + y[1]


# what the rest of the block wrote, told by one thread that did not wait for them


def told_early(x, y):
    tile = cuda.shared.array(1, np.int64)
    i, b = cuda.threadIdx.x, cuda.blockIdx.x
    y[32 * b + i] = x[i]
    if i == 0:
        cuda.threadfence()
        tile[0] = cuda.atomic.add(x, 63, np.float32(1))
    cuda.syncthreads()
    if tile[0] == 64:
        y[32 * b + i] += y[32 - 32 * b + i]


def told_early_mended(x, y):
    tile = cuda.shared.array(1, np.int64)
    i, b = cuda.threadIdx.x, cuda.blockIdx.x
    y[32 * b + i] = x[i]
    cuda.syncthreads()
    if i == 0:
        cuda.threadfence()
        tile[0] = cuda.atomic.add(x, 63, np.float32(1))
    cuda.syncthreads()
    if tile[0] == 64:
        y[32 * b + i] += y[32 - 32 * b + i]


# the result of atomics read before all of them are done


def hasty(x, y):
    i = cuda.threadIdx.x
    cuda.atomic.add(x, 0, np.float32(1))
    y[i] = x[0]


def hasty_mended(x, y):
    i = cuda.threadIdx.x
    cuda.atomic.add(x, 0, np.float32(1))
    cuda.syncthreads()
    y[i] = x[0]


# a barrier that some threads never come to


def leave(x, y):
    i = cuda.threadIdx.x
    if i >= 40:
        return
    cuda.syncthreads()
    y[i] = x[i]


def leave_mended(x, y):
    i = cuda.threadIdx.x
    cuda.syncthreads()
    if i >= 40:
        return
    y[i] = x[i]


# a barrier in each branch of an if


def branches(x, y):
    i = cuda.threadIdx.x
    if x[i] < 8:
        y[i] = np.float32(1)
        cuda.syncthreads()
    else:
        cuda.syncthreads()


def branches_mended(x, y):
    i = cuda.threadIdx.x
    if x[i] < 8:
        y[i] = np.float32(1)
    cuda.syncthreads()


# a helper with a barrier in it, called from two branches


@cuda.jit(device=True)
def meet():
    cuda.syncthreads()


def twice(x, y):
    if cuda.threadIdx.x < 32:
        meet()
    else:
        meet()


def twice_mended(x, y):
    meet()


# as many turns with a barrier as the row has cells, and rows of different lengths


def turns(x, y):
    i = cuda.threadIdx.x
    for _ in range(1 + i // 32):
        cuda.syncthreads()
    y[i] = x[i]


def turns_mended(x, y):
    i = cuda.threadIdx.x
    for _ in range(2):
        cuda.syncthreads()
    y[i] = x[i]


# half of the threads wait for the grid, the other half for the block


def crossed(x, y):
    if cuda.threadIdx.x < 32:
        cuda.cg.this_grid().sync()
    else:
        cuda.syncthreads()


def crossed_mended(x, y):
    cuda.syncthreads()
    cuda.cg.this_grid().sync()


# lanes of a warp that wait for each other at two kinds of barrier


def knot(x, y):
    if cuda.threadIdx.x < 16:
        cuda.syncwarp()
    else:
        cuda.syncthreads()


def knot_mended(x, y):
    cuda.syncwarp()
    cuda.syncthreads()


# one past the end


def past(x, y):
    i = cuda.threadIdx.x
    y[i] = x[i + 1] - x[i]


def past_mended(x, y):
    i = cuda.threadIdx.x
    if i < 63:
        y[i] = x[i + 1] - x[i]


# before the beginning: -1 is the last one, -65 is none


def before(x, y):
    i = cuda.threadIdx.x
    y[i] = x[i] - x[i - 65]


def before_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = x[i] - x[i - 1] if i > 0 else x[i]


# the last row is shorter than the grid of tiles


def ragged(x, y):
    row, column = cuda.blockIdx.x, cuda.threadIdx.x
    y[row, column] = x[row, column]


def ragged_mended(x, y):
    row, column = cuda.blockIdx.x, cuda.threadIdx.x
    if column < x.shape[1]:
        y[row, column] = x[row, column]


# a row taken first, and then a cell beyond it


def in_a_row(x, y):
    i = cuda.threadIdx.x
    row = x[1]
    y[0, i] = row[i]


def in_a_row_mended(x, y):
    i = cuda.threadIdx.x
    row = x[1]
    if i < len(row):
        y[0, i] = row[i]


# a sum that begins with whatever was there


def accumulate(x, y):
    sums = cuda.shared.array(32, np.float32)
    i = cuda.threadIdx.x
    for k in range(2):
        sums[i] += x[i + 32 * k]
    y[i] = sums[i]


def accumulate_mended(x, y):
    sums = cuda.shared.array(32, np.float32)
    i = cuda.threadIdx.x
    sums[i] = np.float32(0)
    for k in range(2):
        sums[i] += x[i + 32 * k]
    y[i] = sums[i]


def halo(x, y):
    # nobody brings the cells at both ends
    tile = cuda.shared.array(66, np.int32)
    i = cuda.threadIdx.x
    tile[i + 1] = np.int32(x[i])
    cuda.syncthreads()
    y[i] = tile[i] + tile[i + 2]


def halo_mended(x, y):
    tile = cuda.shared.array(66, np.int32)
    i = cuda.threadIdx.x
    tile[i + 1] = np.int32(x[i])
    if i < 2:
        tile[65 * i] = np.int32(0)
    cuda.syncthreads()
    y[i] = tile[i] + tile[i + 2]


def own(x, y):
    best = cuda.local.array(4, np.float32)
    i = cuda.threadIdx.x
    for k in range(3):
        best[k] = x[i]
    y[i] = best[3]


def own_mended(x, y):
    best = cuda.local.array(4, np.float32)
    i = cuda.threadIdx.x
    for k in range(4):
        best[k] = x[i]
    y[i] = best[3]


def add_to_output(x, y):
    i = cuda.threadIdx.x
    y[i] += x[i]


def add_to_output_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = x[i]


def count_in_output(x, y):
    cuda.atomic.add(y, 0, x[cuda.threadIdx.x])


def count_in_output_mended(x, y):
    if cuda.threadIdx.x == 0:
        y[0] = np.float32(0)
    cuda.syncthreads()
    cuda.atomic.add(y, 0, x[cuda.threadIdx.x])


# 64 x 64 numbers, three times


def large(x, y):
    a = cuda.shared.array((64, 64), np.float32)
    b = cuda.shared.array((64, 64), np.float32)
    c = cuda.shared.array((64, 64), np.float32)
    d = cuda.shared.array(1, np.float32)
    a[0, 0] = b[0, 0] = c[0, 0] = d[0] = x[0]


def large_mended(x, y):
    a = cuda.shared.array((64, 64), np.float32)
    b = cuda.shared.array((64, 64), np.float32)
    c = cuda.shared.array((64, 64), np.float32)
    if cuda.threadIdx.x == 0:
        a[0, 0] = b[0, 0] = c[0, 0] = x[0]


# masks that say something else than what the lanes do


def whole_mask(x, y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 1)


def whole_mask_mended(x, y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(0x0000FFFF, x[i], 1)


def not_named(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_down_sync(0x0000FFFF, x[i], 1)


def not_named_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_down_sync(0xFFFFFFFF, x[i], 1)


def silent_lane(x, y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(0x0000FFFF, x[i], 16)


def silent_lane_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 16)


def two_masks(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_sync(0xFFFFFFFF if i else 0x0000FFFF, x[i], 0)


def two_masks_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_sync(0xFFFFFFFF, x[i], 0)


def two_shuffles(x, y):
    i = cuda.threadIdx.x
    if i < 16:
        y[i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 1)
    else:
        y[i] = cuda.shfl_xor_sync(0xFFFFFFFF, x[i], 2)


def two_shuffles_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = cuda.shfl_sync(0xFFFFFFFF, x[i], i ^ 1 if i < 16 else i ^ 2)


def crooked(x, y):
    i = cuda.threadIdx.x
    y[i] = load16(x, i)[0]


def crooked_mended(x, y):
    i = cuda.threadIdx.x
    y[i] = load16(x, i - i % 4)[0]


TABLE = np.zeros(64, np.float32)


def constant(x, y):
    table = cuda.const.array_like(TABLE)
    table[cuda.threadIdx.x] = x[0]


def constant_mended(x, y):
    table = cuda.const.array_like(TABLE)
    y[cuda.threadIdx.x] = table[cuda.threadIdx.x]


TWO = {"grid": 2, "block": 32}
ROWS = {"grid": 2, "block": 32, "arrays": ((2, 20), (2, 20))}
WARP = {"block": 32}

BUGS = [
    Bug(tree, tree_mended, "race",
        ("shared partial[", "partial[i] += partial[i + half]", "nothing orders")),
    Bug(early, early_mended, "race",
        ("shared tile[", "tile[i] = x[i]", "y[i] = tile[63 - i]")),
    Bug(reuse, reuse_mended, "race",
        ("shared tile[", "tile[i] = x[i] + np.float32(turn)", "tile[63 - i]")),
    Bug(in_step, in_step_mended, "race", ("shared tile[", "tile[i ^ 1]"), **WARP),
    Bug(other_warp, other_warp_mended, "race", ("shared tile[", "tile[i ^ 32]")),
    Bug(total, total_mended, "race",
        ("on y[0]", "thread 0 of block 0", "thread 0 of block 1", "y[0] += x[i]",
         "changes are lost; use cuda.atomic.add"),
        **TWO),
    Bug(shift, shift_mended, "race", ("on x[", "x[i] = x[(i + 1) % 64]"), **TWO),
    Bug(reset, reset_mended, "race",
        ("on y[0]", "thread 40 of block 0 w", "y[0] = np.float32(0)",
         "cuda.atomic.add(y, 0, x[i])")),
    Bug(last_block, last_block_mended, "race",
        ("on y[", "thread 0 of block ", "thread 1 of block ", "y[b] = x[b]"), **TWO),
    Bug(told_early, told_early_mended, "race",
        ("on y[", "y[32 * b + i] = x[i]"), **TWO),
    Bug(hasty, hasty_mended, "race",
        ("on x[0]", "cuda.atomic.add(x, 0, np.float32(1))", "y[i] = x[0]")),
    Bug(leave, leave_mended, "divergent barrier",
        ("40 of 64 threads of block 0", "24 have exited", "cuda.syncthreads()")),
    Bug(branches, branches_mended, "divergent barrier",
        ("64 threads of block 0", "  8 wait in syncthreads",
         "  56 wait in syncthreads")),
    Bug(twice, twice_mended, "divergent barrier",
        ("64 threads of block 0", "  32 wait in syncthreads", "called from")),
    Bug(turns, turns_mended, "divergent barrier",
        ("32 of 64 threads of block 0", "32 have exited")),
    Bug(crossed, crossed_mended, "deadlock",
        ("32 wait in grid sync", "32 wait in syncthreads",
         "cuda.cg.this_grid().sync()")),
    Bug(knot, knot_mended, "deadlock",
        ("16 wait in syncwarp", "wait in syncthreads", "lanes 16-31"), **WARP),
    Bug(past, past_mended, "bounds",
        ("thread 63 of block 0", "x[64]", "(64,)", "y[i] = x[i + 1] - x[i]")),
    Bug(before, before_mended, "bounds", ("thread 0 of block 0", "x[-65]", "(64,)")),
    Bug(ragged, ragged_mended, "bounds", ("x[", ", 2", "(2, 20)"), **ROWS),
    Bug(in_a_row, in_a_row_mended, "bounds",
        ("x[1][", "of its shape (20,)", "y[0, i] = row[i]"),
        block=32, arrays=((2, 20), (2, 32))),
    Bug(accumulate, accumulate_mended, "uninitialised",
        ("shared sums[", "sums[i] += x[i + 32 * k]"), **WARP),
    Bug(halo, halo_mended, "uninitialised", ("shared tile[", "tile[i] + tile[i + 2]")),
    Bug(own, own_mended, "uninitialised", ("local best[3]", "y[i] = best[3]")),
    Bug(add_to_output, add_to_output_mended, "uninitialised",
        ("reads y[", "y[i] += x[i]")),
    Bug(count_in_output, count_in_output_mended, "uninitialised", ("reads y[0]",)),
    Bug(large, large_mended, "shared memory",
        ("49156 bytes", "may have 49152", "  16384 bytes at", "  4 bytes at",
         "d = cuda.shared.array(1, np.float32)")),
    Bug(whole_mask, whole_mask_mended, "mask",
        ("lanes 16-31", "0xffffffff", "exited", "shfl_xor_sync"), **WARP),
    Bug(not_named, not_named_mended, "mask", ("lane ", "0x0000ffff"), **WARP),
    Bug(silent_lane, silent_lane_mended, "mask",
        ("reads from lane ", "0x0000ffff does not name"), **WARP),
    Bug(two_masks, two_masks_mended, "mask",
        ("  1 wait in shfl_sync with mask 0x0000ffff", "with mask 0xffffffff"),
        **WARP),
    Bug(two_shuffles, two_shuffles_mended, "mask",
        ("different instructions", "  16 wait in shfl_xor_sync"), **WARP),
    Bug(crooked, crooked_mended, "alignment",
        ("loads 16 bytes from element", "load16(x, i)[0]")),
    Bug(constant, constant_mended, "type", ("constant table[",), refused=True),
]  # fmt: skip
