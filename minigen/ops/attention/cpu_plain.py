"""Softmax attention with its loops spelled out: to read before `cpu.py`, the fast one.

A thread takes one head of one image. For each of its queries it computes what the
reference does, number by number: a score for every key, their softmax, the mean of the
values. Arrays keep their layout, and nothing is done for registers;
`python -m minigen bench rungs` prints what that costs.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.target import kernel, prange


@kernel
def _attention(q, k, v, length, causal, y):
    b, m, h, e = q.shape
    scale = np.float32(1) / np.sqrt(np.float32(e))
    for unit in prange(b * h):
        image, head = unit // h, unit % h
        shared = head // (h // k.shape[2])
        weights = np.empty(length, np.float32)
        for i in range(m):
            seen = length - m + i + 1 if causal else length
            highest, total = np.float32(-np.inf), np.float32(0)
            for n in range(seen):
                score = np.float32(0)
                for c in range(e):
                    score += q[image, i, head, c] * k[image, n, shared, c]
                weights[n] = score * scale
                highest = max(highest, weights[n])
            for n in range(seen):
                weights[n] = exp(weights[n] - highest)
                total += weights[n]
            y[image, i, head] = 0
            for n in range(seen):
                weight = weights[n] / total
                for c in range(e):
                    y[image, i, head, c] += weight * v[image, n, shared, c]


def attention(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)

    Return softmax(q k^T / sqrt(e)) v over the first `length` keys of a cache.
    """
    return _run(q, k, v, length, False)


def attention_causal(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)

    Return causal attention of the m newest tokens of the first `length`.
    """
    return _run(q, k, v, length, True)


def _run(q, k, v, length, causal):
    y = buffers.empty(q.shape)
    _attention(*map(buffers.floats, (q, k, v)), length, causal, y)
    return y
