"""From logits to probabilities to tokens, a row at a time.

The filters need the largest entries in order, but seldom many of them: a heap is built
in one pass, and entries are taken from its top until the filters are satisfied.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.cpu.sums import total
from minigen.ops.draw.reference import COLDEST, _expect_shares, _expect_weights
from minigen.target import serial


@serial
def _before(row, i, j):
    # larger values come first, equal ones by index
    return row[i] > row[j] or (row[i] == row[j] and i < j)


@serial
def _sink(row, heap, i, size):
    # move heap[i] down to where both its children come after it
    moved = heap[i]
    child = 2 * i + 1
    while child < size:
        if child + 1 < size and _before(row, heap[child + 1], heap[child]):
            child += 1
        if not _before(row, heap[child], moved):
            break
        heap[i] = heap[child]
        i = child
        child = 2 * i + 1
    heap[i] = moved


@serial
def _keep_row(row, top_k, top_p, minimum, heap, order, kept):
    v = row.size
    for i in range(v):
        heap[i] = i
        kept[i] = False
    for i in range(v // 2 - 1, -1, -1):
        _sink(row, heap, i, v)
    highest = row[heap[0]]
    # the weight of everything that top_k leaves
    left = v
    taken = 0
    total = 0.0
    if top_k > 0:
        k = min(max(top_k, minimum), v)
        while left > 0 and (taken < k or row[heap[0]] == row[order[taken - 1]]):
            order[taken] = heap[0]
            total += np.exp(np.float64(row[heap[0]]) - highest)
            taken += 1
            left -= 1
            heap[0] = heap[left]
            _sink(row, heap, 0, left)
    elif top_p < 1:
        for i in range(v):
            total += np.exp(np.float64(row[i]) - highest)
    limit = taken if top_k > 0 else v
    before = 0.0
    for j in range(limit):
        if top_k > 0:
            i = order[j]
        elif top_p >= 1:
            i = j
        else:
            i = heap[0]
            left -= 1
            heap[0] = heap[left]
            _sink(row, heap, 0, left)
        if top_p < 1 and j > 0 and before > top_p and (minimum == 1 or j > minimum):
            break
        kept[i] = row[i] != -np.inf
        before += np.exp(np.float64(row[i]) - highest) / total


@serial
def _keep(logits, top_k, top_p, minimum, kept):
    n, v = logits.shape
    heap = np.empty(v, np.int64)
    order = np.empty(v, np.int64)
    for i in range(n):
        _keep_row(logits[i], top_k, top_p, minimum, heap, order, kept[i])


@serial
def _softmax(logits, divisor, kept, filtered, y):
    n, v = logits.shape
    nothing = np.float32(-np.inf)
    for i in range(n):
        highest = nothing
        for k in range(v):
            z = logits[i, k] / divisor
            # a filter compares, and NaN compares with nothing: it stays
            if filtered and not kept[i, k] and not np.isnan(z):
                z = nothing
            y[i, k] = z
            highest = max(highest, z)
        for k in range(v):
            y[i, k] = exp(y[i, k] - highest)
        share = np.float32(1) / total(y[i])
        for k in range(v):
            y[i, k] = y[i, k] * share


@serial
def _draw(probabilities, uniforms, tokens):
    n, v = probabilities.shape
    for i in range(n):
        last = 0.0
        for k in range(v):
            last += np.float64(probabilities[i, k])
        limit = uniforms[i] * last
        c = 0.0
        token = 0
        for k in range(v):
            c += np.float64(probabilities[i, k])
            if c > limit or c >= last:
                break
            token += 1
        tokens[i] = token


def keep(logits, top_k, top_p, minimum=1):
    """(b m v) -> (b m v)"""
    kept = buffers.empty(logits.shape, np.bool_)
    v = logits.shape[-1]
    _keep(
        buffers.floats(logits).reshape(-1, v),
        int(top_k),
        float(top_p),
        int(minimum),
        kept.reshape(-1, v),
    )
    return kept


def probabilities(logits, temperature, top_k, top_p):
    """(b m v) -> (b m v)"""
    logits = buffers.floats(logits)
    v = logits.shape[-1]
    divisor = np.float32(max(temperature, COLDEST))
    filtered = top_k > 0 or top_p < 1
    if filtered:
        kept = keep(logits / divisor, top_k, top_p).reshape(-1, v)
    else:
        kept = np.empty((0, 0), np.bool_)
    y = buffers.empty(logits.shape)
    _softmax(logits.reshape(-1, v), divisor, kept, filtered, y.reshape(-1, v))
    return y


def draw(probabilities, uniforms):
    """(b m v), (b m) -> (b m)"""
    _expect_weights(probabilities)
    _expect_shares(uniforms)
    tokens = buffers.empty(uniforms.shape, np.int64)
    _draw(
        buffers.floats(probabilities).reshape(-1, probabilities.shape[-1]),
        np.ascontiguousarray(uniforms, np.float64).reshape(-1),
        tokens.reshape(-1),
    )
    return tokens
