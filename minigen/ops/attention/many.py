"""Attention where an image has many queries: two products in panels.

A thread takes a head of an image and lays out its keys eight by eight, and its values
eight features by eight. Then it takes 32 queries at a time, side by side in a panel.
Each key meets all of them at once, so a score of every query lies side by side too, and
softmax goes down the keys; and in the same way these weights meet the values. Nothing
has to be added up across a vector: see `cpu/panels.py`.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu.scalar import exp
from minigen.cpu.tile import LANES, pour, turn
from minigen.target import exact, kernel, prange

_TOGETHER, _QUERIES = 8, 2 * LANES
"""Keys, or features of values, and queries that meet in registers."""

_PART = 64
"""Keys whose weights, and weighted values, are added up one after the other."""

_step = pour(_TOGETHER, 2)
_turn_sixteen, _turn_eight = turn(LANES), turn(_TOGETHER)


@exact
def _share_out(v, first, stride, stacked):
    # (n e) -> (g n 8): eight features of every value side by side
    for g in range(stacked.shape[0]):
        for n in range(stacked.shape[1]):
            for c in range(_TOGETHER):
                stacked[g, n, c] = v[first + n * stride, g * _TOGETHER + c]


@exact
def _weigh(scores, length, scale, totals):
    # scores (n 32) become powers of e, of at most 1; totals (32): their sums
    highest = np.full(_QUERIES, -np.inf, np.float32)
    for n in range(length):
        for c in range(_QUERIES):
            score = scores[n, c] * scale
            scores[n, c] = score
            highest[c] = score if score > highest[c] else highest[c]
    some = np.empty(_QUERIES, np.float32)
    totals[:] = 0
    for first in range(0, length, _PART):
        some[:] = 0
        for n in range(first, min(first + _PART, length)):
            for c in range(_QUERIES):
                power = exp(scores[n, c] - highest[c])
                scores[n, c] = power
                some[c] += power
        for c in range(_QUERIES):
            totals[c] += some[c]


@exact
def _head(q, k, v, sizes, image, head, length, scale, y):
    m, n, h, r = sizes
    first, start, width = (
        image * m * h + head,
        image * n * r + head // (h // r),
        q.shape[1],
    )
    groups = (length + _TOGETHER - 1) // _TOGETHER
    keys = np.empty((groups, width, _TOGETHER), np.float32)
    for g in range(groups):
        at = g * _TOGETHER
        count = min(_TOGETHER, length - at)
        for p in range(0, width, LANES):
            _turn_eight(k, start + at * r, r, count, p, keys[g], p, 0)
    values = np.empty((v.shape[1] // _TOGETHER, length, _TOGETHER), np.float32)
    _share_out(v, start, r, values)
    panel = np.empty((width, _QUERIES), np.float32)
    scores = np.empty((groups * _TOGETHER, _QUERIES), np.float32)
    sums = np.empty((v.shape[1], _QUERIES), np.float32)
    totals = np.empty(_QUERIES, np.float32)
    for i in range(0, m, _QUERIES):
        count = min(_QUERIES, m - i)
        for p in range(0, width, LANES):
            for c in range(0, _QUERIES, LANES):
                _turn_sixteen(q, first + i * h, h, count, p, panel, p, c)
        scores[:] = 0
        for g in range(groups):
            _step(keys[g], width, panel, scores, g * _TOGETHER)
        _weigh(scores, length, scale, totals)
        sums[:] = 0
        for at in range(0, length, _PART):
            end = min(at + _PART, length)
            for g in range(values.shape[0]):
                _step(values[g, at:end], end - at, scores[at:end], sums, g * _TOGETHER)
        for c in range(count):
            for p in range(y.shape[1]):
                y[first + (i + c) * h, p] = sums[p, c] / totals[c]


@kernel
def attend(q, k, v, sizes, heads, length, scale, y):
    """Write softmax(q k^T scale) v over the first `length` keys into y.

    q (b m h e), k, v (b n r e) as arrays of two axes, their rows filled up with zeros:
    of q and k to a multiple of sixteen, of v to a multiple of eight; sizes: m n h r;
    heads: b h; y (b m h e), likewise of two axes, not filled up.
    """
    for unit in prange(heads):
        image, head = divmod(np.int64(unit), sizes[2])
        _head(q, k, v, sizes, image, head, length, scale, y)
