"""Softmax attention, four queries at a time, in two passes over the keys.

A thread takes one head of one image and four of its queries. Their scores against all
keys are kept, so that the softmax is the plain one: the largest, the powers, their sum.
Scores come in tiles of four queries by four keys; a tile that lacks some repeats the
last one. Keys in the future score -inf. A query that is alone, as where one token is
drawn a step, has tiles of its own, for nothing but reading keys and values takes its
time. A sum has the same terms in the same order in a tile of any size: so a query's
result does not depend on its company, to the last bit. Where an image has many queries,
which see all keys, `many.py` is faster.

Kernels see q, k and v as rows of one head each: token n of head j stands in row n h + j
after the first row of its image. Keys and values have r heads, each shared by h / r.
"""

from __future__ import annotations

import numpy as np

from minigen.ops import buffers
from minigen.ops.attention import many
from minigen.ops.scalar import exp
from minigen.ops.tile import LANES, blend, tile
from minigen.target import exact, kernel, prange, serial

_four_by_four = tile(4, 4)
_four_by_two = blend(4, 2)
_one_by_four = tile(1, 4)
_one_by_two = blend(1, 2)
_WIDTH = 2 * LANES

_MANY, _HEADS = 48, 4
"""Queries and heads of an image that go to `many.py`: it is of no account how many
images there are, so a result has the same bits in any company."""

_AHEAD = 16
"""Keys between the one that is read and the one that is fetched."""


@exact
def _scores(q, rows, k, start, step, seen, scale, scores):
    # scores[r, n] = q[rows[r]] . k[start + n step] * scale
    end = start + (seen - 1) * step
    for n in range(0, scores.shape[1], 4):
        k0 = start + n * step
        k1, k2, k3 = k0 + step, k0 + 2 * step, k0 + 3 * step
        keys = min(k0, end), min(k1, end), min(k2, end), min(k3, end)
        sums = _four_by_four(q, rows, k, keys, keys)
        for r in range(4):
            for c in range(4):
                scores[r, n + c] = sums[4 * r + c] * scale


@exact
def _scores_of_one(q, row, k, start, step, seen, scale, scores):
    # scores[0, n] = q[row] . k[start + n step] * scale
    end = start + (seen - 1) * step
    for n in range(0, scores.shape[1], 4):
        k0 = start + n * step
        k1, k2, k3 = k0 + step, k0 + 2 * step, k0 + 3 * step
        keys = min(k0, end), min(k1, end), min(k2, end), min(k3, end)
        k0, k1 = k0 + _AHEAD * step, k1 + _AHEAD * step
        k2, k3 = k2 + _AHEAD * step, k3 + _AHEAD * step
        ahead = min(k0, end), min(k1, end), min(k2, end), min(k3, end)
        sums = _one_by_four(q, (row,), k, keys, ahead)
        for c in range(4):
            scores[0, n + c] = sums[c] * scale


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
def _unit_of_one(q, k, v, row, start, step, seen, scale, y):
    scores = np.empty((1, (seen + LANES - 1) // LANES * LANES), np.float32)
    _scores_of_one(q, row, k, start, step, seen, scale, scores)
    _softmax(scores[0], seen)
    sums = np.empty((1, v.shape[1]), np.float32)
    for p in range(0, v.shape[1], _WIDTH):
        _one_by_two(scores, v, start, step, seen, p, sums)
    for p in range(y.shape[1]):
        y[row, p] = sums[0, p]


@exact
def _unit(q, k, v, sizes, unit, length, causal, scale, y):
    m, n, h, r = sizes
    groups = (m + 3) // 4
    image, head, i = unit // (h * groups), unit // groups % h, unit % groups * 4
    first, start = (image * m + i) * h + head, image * n * r + head // (h // r)
    seen = min(i + 4, m) if causal else length
    count = min(m - i, 4)
    last = first + (count - 1) * h
    if count == 1:
        _unit_of_one(q, k, v, first, start, r, seen, scale, y)
        return
    rows = first, min(first + h, last), min(first + 2 * h, last), last
    scores = np.empty((4, (seen + LANES - 1) // LANES * LANES), np.float32)
    _scores(q, rows, k, start, r, seen, scale, scores)
    for j in range(4):
        later = max(count - 1 - j, 0) if causal else 0
        _softmax(scores[j], seen - later)
    sums = np.empty((4, v.shape[1]), np.float32)
    for p in range(0, v.shape[1], _WIDTH):
        _four_by_two(scores, v, start, r, seen, p, sums)
    for j in range(count):
        for p in range(y.shape[1]):
            y[rows[j], p] = sums[j, p]


@kernel
def _attention(q, k, v, sizes, units, length, causal, scale, y):
    for unit in prange(units):
        _unit(q, k, v, sizes, np.int64(unit), length, causal, scale, y)


def attention(q, k, v, length):
    # (b m h e), (b n r e), (b n r e) -> (b m h e)
    """Return softmax(q k^T / sqrt(e)) v over the first `length` keys of a cache."""
    return _run(q, k, v, length, False)


def attention_causal(q, k, v):
    # (b n h e), (b n r e), (b n r e) -> (b n h e)
    """Return attention in which query i sees keys 0 .. i."""
    return _run(q, k, v, q.shape[1], True)


def append(cache, new, length):
    # (b n h e), (b m h e) -> (b n h e)
    """Write `new` at [length, length + m) of `cache`, in place; return the cache."""
    end = length + new.shape[1]
    cache[:, length:end] = new
    return cache


def _run(q, k, v, length, causal):
    b, m, h, e = q.shape
    n, r = k.shape[1:3]
    y = buffers.empty(q.shape)
    scale = np.float32(1 / np.sqrt(e))
    queries = buffers.padded(buffers.floats(q).reshape(-1, e), LANES)
    keys = buffers.padded(buffers.floats(k).reshape(-1, e), LANES)
    values = buffers.padded(buffers.floats(v).reshape(-1, e), _WIDTH)
    sizes, units = (m, n, h, r), b * h * ((m + 3) // 4)
    out = y.reshape(-1, e)
    if not causal and m >= _MANY and h >= _HEADS:
        many.attend(queries, keys, values, sizes, b * h, length, scale, out)
        return y
    _attention(queries, keys, values, sizes, units, length, causal, scale, out)
    return y
