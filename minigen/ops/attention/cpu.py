"""Softmax attention, up to 32 queries of a head at a time, in two passes.

A thread takes one head of one image and some of its queries. Their scores are kept, so
that the softmax is the plain one: the largest, the powers, their sum. Four keys are
read, and meet each query while they lie in the first cache; then a few dozen values
likewise. A single query, as where one token is drawn a step, takes the same way: what
it waits for is memory, from which the keys and values ahead are fetched meanwhile.
Where an image has many queries, keys are laid side by side before they meet them; but
not if they are causal, so that one call has the bits of a call for each token.

A sum has the same terms in the same order whatever else a thread has to do: so a
query's result is batch-invariant, to the last bit. As plain loops: `cpu_plain.py`.

Kernels see q, k and v as rows of one head each: token n of head j stands in row n h + j
after the first row of its image. Keys and values have r heads, each shared by h / r.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.blend import KEYS, blend, copy, fetch, score
from minigen.cpu.scalar import exp
from minigen.cpu.sums import largest, total
from minigen.cpu.tile import LANES, turn
from minigen.target import kernel, prange, serial

_QUERIES = 32
"""Queries of a head that a thread takes."""

_MANY = 48
"""Queries of an image from which on keys are turned: it is of no account how many
images there are, so a result has the same bits in any batch."""

_AHEAD = 16
"""Keys between one that is read and the one that is fetched meanwhile."""

_PART = 4 * LANES
"""Keys, channels and values whose products are added up one after the other, before
they are added to the rest."""

_turn, _mix, _mix_half = turn(LANES), blend(4), blend(2)


@serial
def _score(q, k, start, r, seen, before, scores):
    # query j sees the keys up to number before + j, and the last one all that are seen;
    # what lies behind is computed too, and not looked at
    end = start + (seen - 1) * r
    for n in range(0, seen, KEYS):
        row = start + n * r
        keys = row, min(row + r, end), min(row + 2 * r, end), min(row + 3 * r, end)
        for c in range(KEYS):
            fetch(k, min(row + (c + _AHEAD) * r, end))
        for j in range(max(0, n - before), len(q)):
            score(q, j, k, keys, scores, n)


@serial
def _score_many(q, k, start, r, seen, scores):
    # every query sees every key here; keys lie side by side, so nothing has to be added
    # up across a vector
    part = np.empty((_PART, _PART), np.float32)
    for at in range(0, seen, _PART):
        keys, row = min(_PART, seen - at), start + at * r
        for p in range(0, k.shape[1], _PART):
            channels = min(_PART, k.shape[1] - p)
            for n in range(0, keys, LANES):
                for c in range(0, channels, LANES):
                    _turn(k, row, r, keys, p + c, part, c, n)
            for j in range(len(q)):
                _mix(q, j, p, channels, part, 0, 1, 0, scores, j, at)


@serial
def _softmax(scores, scale):
    highest = largest(scores) * scale
    for n in range(scores.size):
        scores[n] = exp(scores[n] * scale - highest)
    share = np.float32(1) / total(scores)
    for n in range(scores.size):
        scores[n] *= share


@serial
def _blend(scores, count, v, start, r, seen, before, means):
    part = np.empty((_PART, _PART), np.float32)
    for at in range(0, seen, _PART):
        row = start + at * r
        for n in range(_PART, min(2 * _PART, seen - at)):
            fetch(v, row + n * r)
        for p in range(0, v.shape[1], _PART):
            columns = min(_PART, v.shape[1] - p)
            if count > 1:
                # rows that lie far apart would push each other out of the cache
                for n in range(min(_PART, seen - at)):
                    copy(v, row + n * r, p, columns, part, n)
            for j in range(max(0, at - before), count):
                some = min(_PART, min(seen, before + j + 1) - at)
                if count > 1:
                    _mix(scores, j, at, some, part, 0, 1, 0, means, j, p)
                elif columns == _PART:
                    _mix(scores, j, at, some, v, row, r, p, means, j, p)
                else:
                    _mix_half(scores, j, at, some, v, row, r, p, means, j, p)


@serial
def _group(q, k, v, sizes, group, length, causal, scale, y):
    m, n, h, r = sizes
    groups = (m + _QUERIES - 1) // _QUERIES
    image, head = group // (h * groups), group // groups % h
    i = group % groups * _QUERIES
    first, start = (image * m + i) * h + head, image * n * r + head // (h // r)
    count = min(m - i, _QUERIES)
    # query j of the group sees the keys up to number before + j
    before = length - m + i if causal else length
    seen = min(before + count, length)
    queries = np.empty((count, q.shape[1]), np.float32)
    for j in range(count):
        copy(q, first + j * h, 0, q.shape[1], queries, j)
    scores = np.zeros((count, (seen + _PART - 1) // _PART * _PART), np.float32)
    if causal or m < _MANY:
        _score(queries, k, start, r, seen, before, scores)
    else:
        _score_many(queries, k, start, r, seen, scores)
    for j in range(count):
        _softmax(scores[j, : min(seen, before + j + 1)], scale)
    means = np.zeros((count, (v.shape[1] + _PART - 1) // _PART * _PART), np.float32)
    _blend(scores, count, v, start, r, seen, before, means)
    for j in range(count):
        for p in range(y.shape[1]):
            y[first + j * h, p] = means[j, p]


@kernel
def _attention(q, k, v, sizes, groups, length, causal, scale, y):
    for group in prange(groups):
        _group(q, k, v, sizes, np.int64(group), length, causal, scale, y)


def attention(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)"""
    return _run(q, k, v, length, False)


def attention_causal(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)"""
    return _run(q, k, v, length, True)


def _run(q, k, v, length, causal):
    b, m, h, e = q.shape
    n, r = k.shape[1:3]
    y = buffers.empty(q.shape)
    scale = np.float32(1 / np.sqrt(e))
    queries = buffers.padded(buffers.floats(q).reshape(-1, e), LANES)
    keys = buffers.padded(buffers.floats(k).reshape(-1, e), LANES)
    values = buffers.padded(buffers.floats(v).reshape(-1, e), 2 * LANES)
    sizes, groups = (m, n, h, r), b * h * -(-m // _QUERIES)
    out = y.reshape(-1, e)
    _attention(queries, keys, values, sizes, groups, length, causal, scale, out)
    return y
