"""Softmax attention, four queries at a time, in two passes over the keys.

The scores of four queries against all keys are kept, so the softmax is the plain one:
the largest, the powers, their sum. A thread takes one head of one image and four of its
queries. A group that lacks queries repeats its last one, and keys beyond the length (or
in the future) score -inf: every query takes the same path through the same code.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.ops.scalar import exp
from minigen.target import kernel, prange

_QUERIES = 4


@kernel
def _attention(q, k, v, length, causal, y):
    b, m, h, e = q.shape
    groups = (m + 3) // 4
    root = np.float32(1) / np.sqrt(np.float32(e))
    for unit in prange(b * h * groups):
        i = unit // (h * groups)
        j = unit // groups % h
        first = unit % groups * 4
        seen = min(first + 4, m) if causal else length
        scores = np.empty((4, seen), np.float32)
        sums = np.zeros((4, e), np.float32)
        for r in range(4):
            query = q[i, min(first + r, m - 1), j]
            highest = np.float32(-np.inf)
            for n in range(seen):
                total = np.float32(0)
                for p in range(e):
                    total += query[p] * k[i, n, j, p]
                total *= root
                if causal and n > first + r:
                    total = np.float32(-np.inf)
                scores[r, n] = total
                highest = max(highest, total)
            weight = np.float32(0)
            for n in range(seen):
                power = exp(scores[r, n] - highest)
                scores[r, n] = power
                weight += power
            for n in range(seen):
                scores[r, n] = scores[r, n] / weight
            for n in range(seen):
                for p in range(e):
                    sums[r, p] += scores[r, n] * v[i, n, j, p]
        for r in range(min(4, m - first)):
            for p in range(e):
                y[i, first + r, j, p] = sums[r, p]


def attention(q, k, v, length):
    # (b m h e), (b n h e), (b n h e) -> (b m h e)
    """Return softmax(q k^T / sqrt(e)) v over the first `length` keys of a cache.

    ShapeError if the shapes disagree or `length` is not in 1 .. n.
    """
    b, m, h, e = q.shape
    if not 1 <= length <= k.shape[1]:
        raise ShapeError(f"length is {length}, the cache holds up to {k.shape[1]} keys")
    return _run(q, k, v, length, False)


def attention_causal(q, k, v):
    # (b n h e), (b n h e), (b n h e) -> (b n h e)
    """Return attention in which query i sees keys 0 .. i."""
    buffers.expect("k", k, q.shape)
    return _run(q, k, v, q.shape[1], True)


def append(cache, new, length):
    # (b n h e), (b m h e) -> (b n h e)
    """Write `new` at [length, length + m) of `cache`, in place; return the cache."""
    end = length + new.shape[1]
    if not 0 <= length <= end <= cache.shape[1]:
        raise ShapeError(
            f"positions {length} to {end} do not fit a cache of {cache.shape[1]} keys"
        )
    cache[:, length:end] = new
    return cache


def _run(q, k, v, length, causal):
    b, m, h, e = q.shape
    buffers.expect("k", k, (b, k.shape[1], h, e))
    buffers.expect("v", v, k.shape)
    y = buffers.empty(q.shape)
    q, k, v = buffers.floats(q), buffers.floats(k), buffers.floats(v)
    _attention(q, k, v, length, causal, y)
    return y
