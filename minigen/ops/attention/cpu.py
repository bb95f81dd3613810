"""Softmax attention, four queries at a time, in two passes over the keys.

A thread takes one head of one image and four of its queries. Their scores against all
keys are kept, so that the softmax is the plain one: the largest, the powers, their sum.
Scores come in tiles of four queries by four keys; a tile that lacks some repeats the
last one. Keys in the future score -inf. A query that is alone, as where one token is
drawn a step, has tiles of its own, for nothing but reading keys and values takes its
time. A sum has the same terms in the same order in a tile of any size: so a query's
result is batch-invariant, to the last bit. Where an image has many queries,
which see all keys, `many.py` is faster. Where there are no tiles: `cpu_plain.py`.

Kernels see q, k and v as rows of one head each: token n of head j stands in row n h + j
after the first row of its image. Keys and values have r heads, each shared by h / r.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.cpu.tile import LANES, blend, tile
from minigen.ops.attention import many
from minigen.target import exact, kernel, prange, serial

_WIDTH = 2 * LANES

_MANY, _HEADS = 48, 4
"""Queries and heads of an image that go to `many.py`: it is of no account how many
images there are, so a result has the same bits in any batch."""


@serial
def _softmax(scores, seen):
    # what is not seen has a score of -inf and a weight of zero
    highest = np.float32(-np.inf)
    for n in range(seen):
        highest = max(highest, scores[n])
    total = np.float32(0)
    for n in range(scores.size):
        power = exp(scores[n] - highest) if n < seen else np.float32(0)
        scores[n] = power
        total += power
    for n in range(scores.size):
        scores[n] = scores[n] / total


@exact
def _four(row, step, last):
    # a row and the three after it; where there are none, the last one again
    others = min(row + step, last), min(row + 2 * step, last), min(row + 3 * step, last)
    return min(row, last), *others


def _unit(queries, ahead):
    # what a thread does for so many queries of a head; ahead: how many keys lie between
    # one that is read and the one that is fetched meanwhile
    dots, mix = tile(queries, 4), blend(queries, 2)

    @exact
    def unit(q, rows, count, k, v, start, step, seen, causal, scale, y):
        # rows of q and y, the last ones the same if they are more than count; keys and
        # values start + n step, of which the last of the queries sees so many
        scores = np.empty((queries, (seen + LANES - 1) // LANES * LANES), np.float32)
        end = start + (seen - 1) * step
        for n in range(0, scores.shape[1], 4):
            keys = _four(start + n * step, step, end)
            later = _four(start + (n + ahead) * step, step, end)
            sums = dots(q, rows, k, keys, later)
            for r in range(queries):
                for c in range(4):
                    scores[r, n + c] = sums[4 * r + c] * scale
        for r in range(queries):
            _softmax(scores[r], seen - max(count - 1 - r, 0) if causal else seen)
        means = np.empty((queries, v.shape[1]), np.float32)
        for p in range(0, v.shape[1], _WIDTH):
            mix(scores, v, start, step, seen, p, means)
        for r in range(count):
            for p in range(y.shape[1]):
                y[rows[r], p] = means[r, p]

    return unit


_alone, _together = _unit(1, 16), _unit(4, 0)


@exact
def _group(q, k, v, sizes, group, length, causal, scale, y):
    m, n, h, r = sizes
    groups = (m + 3) // 4
    image, head, i = group // (h * groups), group // groups % h, group % groups * 4
    first, start = (image * m + i) * h + head, image * n * r + head // (h // r)
    seen, count = min(i + 4, m) if causal else length, min(m - i, 4)
    last = first + (count - 1) * h
    if count == 1:
        _alone(q, (first,), 1, k, v, start, r, seen, causal, scale, y)
    else:
        rows = _four(first, h, last)
        _together(q, rows, count, k, v, start, r, seen, causal, scale, y)


@kernel
def _attention(q, k, v, sizes, groups, length, causal, scale, y):
    for group in prange(groups):
        _group(q, k, v, sizes, np.int64(group), length, causal, scale, y)


def attention(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)"""
    return _run(q, k, v, length, False)


def attention_causal(q, k, v):
    """(b n h e), (b n r e), (b n r e) -> (b n h e)"""
    return _run(q, k, v, q.shape[1], True)


def _run(q, k, v, length, causal):
    b, m, h, e = q.shape
    n, r = k.shape[1:3]
    y = buffers.empty(q.shape)
    scale = np.float32(1 / np.sqrt(e))
    queries = buffers.padded(buffers.floats(q).reshape(-1, e), LANES)
    keys = buffers.padded(buffers.floats(k).reshape(-1, e), LANES)
    values = buffers.padded(buffers.floats(v).reshape(-1, e), _WIDTH)
    sizes, groups = (m, n, h, r), b * h * ((m + 3) // 4)
    out = y.reshape(-1, e)
    if not causal and m >= _MANY and h >= _HEADS:
        many.attend(queries, keys, values, sizes, b * h, length, scale, out)
        return y
    _attention(queries, keys, values, sizes, groups, length, causal, scale, out)
    return y
