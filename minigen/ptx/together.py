"""What lanes do together: shuffles, votes, matches, barriers and matrix products.

m: the Machine, whose `lanes` have met; line: of the PTX; words: of the opcode after its
first; the rest: what each lane brings.
"""

from __future__ import annotations

import numpy as np

from minigen.ptx.numbers import F32, F64, S64, U32


def shfl(m, line, words, a, b, c):
    """Return another lane's a, and whether its number was in range."""
    lane, b, c = m.lane[m.lanes], b.astype(S64) & 31, c.astype(S64)
    segment = c >> 8 & 31
    least, most = lane & segment, lane & segment | c & 31 & ~segment
    mode = words[1]
    source = {"up": lane - b, "down": lane + b, "bfly": lane ^ b}.get(mode)
    if source is None:
        source = least | b & ~segment
    valid = source >= most if mode == "up" else source <= most
    source = np.where(valid, source, lane)
    place = np.full((m.warp[-1] + 1, 32), -1)
    place[m.warp[m.lanes], lane] = np.arange(len(lane))
    source = place[m.warp[m.lanes], source]
    if (source < 0).any():
        lane = int(np.argmin(source))
        m.stop("mask", line, lane, "reads from a lane that is not there")
    return a[source], valid


def vote(m, line, words, a):
    """Return which lanes of the warp say yes, or whether any or all do."""
    warp = m.warp[m.lanes]
    yes, all_ = m.bits(m.lanes, a)[warp], m.bits(m.lanes)[warp]
    found = {"ballot": yes.astype(U32), "any": yes != 0, "all": yes == all_}
    return [found.get(words[1], (yes == 0) | (yes == all_))]


def match(m, line, words, a):
    """Return which lanes of the warp have the same value."""
    warp = m.warp[m.lanes]
    _, group = np.unique(a, return_inverse=True)
    _, group = np.unique(warp * len(a) + group, return_inverse=True)
    same = np.bincount(group, m.bit[m.lanes]).astype(S64)[group]
    if words[0] == "any":
        return [same.astype(U32)]
    all_ = m.bits(m.lanes)[warp]
    return [np.where(same == all_, all_, 0).astype(U32), same == all_]


def bar(m, line, words, a):
    """Return how many threads of the block say yes, or whether all or any do."""
    cta = m.cta[m.lanes]
    yes = np.bincount(cta, a, len(m.blocks))[cta]
    word = next(word for word in words if word in ("popc", "and", "or"))
    return [{"popc": yes.astype(U32), "and": yes == m.size, "or": yes > 0}[word]]


def call(m, line, words):
    """Return that all threads of the grid have met."""
    return [np.zeros(len(m.lanes), U32)]


def mma(m, line, words, *brought):
    """Return c + a b for the matrices that each warp holds.

    Register i of a and b holds elements 2i and 2i + 1 of the lane's fragment, register
    i of c element i, in the rows and columns that PTX's section on mma.m16n8k16 says.
    """
    n = len(m.lanes) // 32
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


TOGETHER = {
    "shfl": shfl, "vote": vote, "match": match, "bar": bar, "barrier": bar,
    "call": call, "mma": mma,
}  # fmt: skip
"""The function of each instruction, by its first word."""
