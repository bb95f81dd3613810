"""Softmax attention on a GPU: what a tile of keys says, and how tiles are joined.

After some of its keys a query knows three things: the highest score, the total of the
powers exp(score - highest), and the sum of the values, each times its power. What it
knows of some keys and what it knows of others join to what it knows of both: the side
with the lower highest score is scaled down. So every key and value is read once and no
score is kept (Milakov and Gimelshein, arXiv 1805.02867, algorithm 3; Dao et al., arXiv
2205.14135, algorithm 1).

Keys come in tiles of 64, from the first on, and tiles are joined in their order. Either
one block walks over all of them (`_attention`), or each tile has a block of its own and
`_attention_join` joins what they leave (Dao et al., "Flash-Decoding for long-context
inference", 2023). Both do the same arithmetic in the same order. So it may depend on
the batch which of them runs, and yet a query has the same bits in any batch,
from a cache and in a causal pass.

Which: splitting costs a second launch, and m / 64 of what is read of keys and values is
written and read again. But there are as many times more blocks as there are tiles. One
image, twice for guidance, has 32 blocks if there are 16 heads; an H200 has 132
multiprocessors, and four blocks fit on each. So below FEW blocks tiles are split.

Sizes: a warp takes four queries. For them a lane takes two keys, then two channels:
eight products for six reads of shared memory. Four warps make 16 queries: in 64 steps
ARPG asks for four at a time on average, for more than 16 in the last one only, so its
cache is read once. A tile of 64 keys and 64 channels is 16 KB: 128 threads load 128
bytes each. A multiprocessor of an H200 reads 36 bytes a nanosecond and waits some 600
for the first: so 22 KB must be under way, and 64 bytes of each thread of four blocks
are 32 KB. (All by arithmetic from data sheets; not yet measured.)

Inner loops count by hand, `while j < count`, and not with `for j in range(count)`: for
a range Numba keeps a second counter, which its compiler does not see through, and then
computes every address anew in every turn.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import warp_max, warp_sum
from minigen.ops.intrinsics import load16
from minigen.target import cuda, gpu_inline, gpu_kernel

KEYS = 64
"""Keys of a tile. The order of sums, and so the bits of a result, hang on it."""

CHANNELS = 64
"""Channels of a head that are in shared memory at a time."""

PITCH = CHANNELS + 1
"""Width of a row of keys: so the cells of a column lie in different banks."""

WARPS, ROWS = 4, 4
"""Warps of a block, and queries of a warp."""

QUERIES = WARPS * ROWS
"""Queries of a block."""

HELD = 128
"""Channels that a block of `_attention` has room for; wider heads are always split."""

FEW = 512
"""Blocks below which tiles are split. By the arithmetic above; not yet measured."""

LOWEST = np.finfo(np.float32).min
"""The initial maximum: finite, because -inf - (-inf) is NaN."""

THREADS = 32 * WARPS


@gpu_inline
def _place():
    # the lane, and the first of the four queries of the warp; & tells the compiler that
    # neither is negative, so it drops what Python's negative indices would ask for
    return cuda.threadIdx.x & 31, ((cuda.threadIdx.x >> 5) & (WARPS - 1)) * ROWS


@gpu_inline
def _stage(array, at, stride, count, width, tile):
    # tile[j, :width] = array[at + j stride:][:width]; 16 lanes take four cells each
    c, j = 4 * (cuda.threadIdx.x & 15), (cuda.threadIdx.x >> 4) & 7
    if c < width:
        at += j * stride + c
        while j < count:
            cells = load16(array, at)
            tile[j, c], tile[j, c + 1] = cells[0], cells[1]
            tile[j, c + 2], tile[j, c + 3] = cells[2], cells[3]
            at += THREADS // 16 * stride
            j += THREADS // 16


@gpu_inline
def _multiply(queries, row, last, tile, lane, other, width, rows, scores):
    # scores[r, s] += queries[row + r, :width] . tile[lane or other, :width], r < rows;
    # where there are fewer queries, the last one is taken again
    c = 0
    while c < width:
        # a head has a multiple of four channels, and one address serves for these
        for i in range(4):
            near, far = tile[lane, c + i], tile[other, c + i]
            for r in range(rows):
                query = queries[min(row + r, last), c + i]
                scores[r, 0] += query * near
                scores[r, 1] += query * far
        c += 4


@gpu_inline
def _add_up(powers, row, tile, lane, other, count, rows, sums):
    # sums[r, s] += powers[row + r, :count] . tile[:count, lane or other], r < rows
    j = 0
    while j < count:
        near, far = tile[j, lane], tile[j, other]
        for r in range(rows):
            power = powers[row + r, j]
            sums[r, 0] += power * near
            sums[r, 1] += power * far
        j += 1


@gpu_inline
def _score(q, q_at, q_stride, m, k, k_at, k_stride, count, e, queries, tile, scores):
    # scores[r, s] = q[row + r] . k[lane + 32 s], of m queries and `count` keys
    lane, row = _place()
    for r in range(ROWS):
        scores[r, 0] = scores[r, 1] = np.float32(0)
    p = 0
    while p < e:
        width = min(CHANNELS, e - p)
        # until here somebody may have read what was there before
        cuda.syncthreads()
        _stage(q, q_at + p, q_stride, m, width, queries)
        _stage(k, k_at + p, k_stride, count, width, tile)
        cuda.syncthreads()
        if row < m and lane < count:
            # where there are fewer, the last one is taken again
            other = min(lane + 32, count - 1)
            if row + 1 == m:
                _multiply(queries, row, row, tile, lane, other, width, 1, scores)
            else:
                _multiply(queries, row, m - 1, tile, lane, other, width, ROWS, scores)
        p += CHANNELS


@gpu_inline
def _weigh(near, far, scale, seen, powers, r):
    # powers[r, j] = exp(score - highest), 0 where j >= seen; return highest and total
    lane, _ = _place()
    # each rounded by itself: else a kernel might fuse it with what follows, or not
    near, far = cuda.libdevice.fmul_rn(near, scale), cuda.libdevice.fmul_rn(far, scale)
    highest = LOWEST
    if lane < seen:
        highest = max(highest, near)
    if lane + 32 < seen:
        highest = max(highest, far)
    highest = warp_max(highest)
    near = math.exp(near - highest) if lane < seen else np.float32(0)
    far = math.exp(far - highest) if lane + 32 < seen else np.float32(0)
    powers[r, lane], powers[r, lane + 32] = near, far
    return highest, warp_sum(cuda.libdevice.fadd_rn(near, far))


@gpu_inline
def _blend(v, at, stride, count, width, m, tile, powers, sums):
    # sums[r, s] = powers[row + r, :count] . v[:count, lane + 32 s]
    lane, row = _place()
    cuda.syncthreads()
    _stage(v, at, stride, count, width, tile)
    cuda.syncthreads()
    for r in range(ROWS):
        sums[r, 0] = sums[r, 1] = np.float32(0)
    if row < m and lane < width:
        other = min(lane + 32, width - 1)
        if row + 1 == m:
            _add_up(powers, row, tile, lane, other, count, 1, sums)
        else:
            _add_up(powers, row, tile, lane, other, count, ROWS, sums)


@gpu_inline
def _join(one, other):
    # the higher of two highest scores, and what to scale the sums of each side by
    highest = max(one, other)
    return highest, math.exp(one - highest), math.exp(other - highest)


@gpu_inline
def _walk(q, k, v, m, n, e, kin, stride, length, step, scale, y):
    # query i sees the keys below length + step i; `kin` heads share one head of keys,
    # whose tokens lie `stride` apart
    queries = cuda.shared.array((QUERIES, CHANNELS), np.float32)
    tile = cuda.shared.array((KEYS, PITCH), np.float32)
    powers = cuda.shared.array((QUERIES, KEYS), np.float32)
    held = cuda.shared.array((QUERIES, HELD), np.float32)
    sums = cuda.local.array((ROWS, 2), np.float32)
    highest = cuda.local.array(ROWS, np.float32)
    totals = cuda.local.array(ROWS, np.float32)
    # what to scale by: all that is held, and what is new
    keep = cuda.local.array(ROWS, np.float32)
    take = cuda.local.array(ROWS, np.float32)
    lane, row = _place()
    h, head, image = cuda.gridDim.y, cuda.blockIdx.y, cuda.blockIdx.z
    first = cuda.blockIdx.x * QUERIES
    q_at, k_at = ((image * m + first) * h + head) * e, image * n * stride
    k_at += head // kin * e
    m = min(QUERIES, m - first)
    end = min(n, length + step * (first + m - 1))
    for r in range(ROWS):
        highest[r], totals[r] = LOWEST, np.float32(0)
    start = 0
    while start < end:
        count, at = min(KEYS, end - start), k_at + start * stride
        _score(q, q_at, h * e, m, k, at, stride, count, e, queries, tile, sums)
        if row < m:
            for r in range(ROWS):
                seen = length + step * (first + row + r) - start
                high, total = _weigh(
                    sums[r, 0], sums[r, 1], scale, min(seen, count), powers, row + r
                )
                highest[r], keep[r], take[r] = _join(highest[r], high)
                totals[r] = cuda.fma(totals[r], keep[r], total * take[r])
        p = 0
        while p < e:
            width = min(CHANNELS, e - p)
            _blend(v, at + p, stride, count, width, m, tile, powers, sums)
            for s in range(2):
                c = lane + 32 * s
                if row < m and c < width:
                    for r in range(ROWS):
                        old = held[row + r, p + c] if start > 0 else np.float32(0)
                        held[row + r, p + c] = cuda.fma(
                            old, keep[r], sums[r, s] * take[r]
                        )
            p += CHANNELS
        start += KEYS
    c = lane
    while c < e:
        for r in range(ROWS):
            if row + r < m:
                y[q_at + (row + r) * h * e + c] = held[row + r, c] / totals[r]
        c += 32


@gpu_kernel(threads=THREADS, blocks=4)
def _attention(q, k, v, m, n, e, kin, stride, groups, length, scale, y):
    """One block per image, head and 16 queries; q and y are b m h e, k and v b n r e.
    A warp takes 4 queries, a lane 2 keys of each tile of 64, then 2 channels.
    Reads q (length + 63) // 64, k 0..groups * kin, v 0..groups * kin; writes y 1.
    Shared memory: 33024 bytes.
    """
    _walk(q, k, v, m, n, e, kin, stride, length, 0, scale, y)


@gpu_kernel(threads=THREADS, blocks=4)
def _attention_causal(q, k, v, m, n, e, kin, stride, groups, length, scale, y):
    """One block per image, head and 16 queries, of which query i sees length + i keys.
    A warp takes 4 queries, a lane 2 keys of each tile of 64, then 2 channels.
    Reads q 1..(length + m + 62) // 64, k 0..groups*kin, v 0..groups*kin; writes y 1.
    Shared memory: 33024 bytes.
    """
    _walk(q, k, v, m, n, e, kin, stride, length, 1, scale, y)


@gpu_kernel(threads=THREADS, blocks=4)
def _attention_split(
    q, k, v, m, n, e, kin, stride, groups, length, step, scale, highest, totals, parts
):
    """One block per tile of keys, t in highest (t r), and image, head and 16 queries.
    A warp takes 4 queries, a lane 2 keys, then 2 channels; i sees length + step i keys.
    Reads q t, k 0..groups*kin, v 0..groups*kin; writes highest 1, totals 1, parts 1.
    Shared memory: 24832 bytes.
    """
    queries = cuda.shared.array((QUERIES, CHANNELS), np.float32)
    tile = cuda.shared.array((KEYS, PITCH), np.float32)
    powers = cuda.shared.array((QUERIES, KEYS), np.float32)
    sums = cuda.local.array((ROWS, 2), np.float32)
    lane, row = _place()
    h, head, image = cuda.gridDim.y, cuda.blockIdx.y, cuda.blockIdx.z
    t, first = cuda.blockIdx.x // groups, cuda.blockIdx.x % groups * QUERIES
    start = t * KEYS
    r_at = (image * m + first) * h + head
    at = (image * n + start) * stride + head // kin * e
    m = min(QUERIES, m - first)
    # no key, where even the last query does not see the first of the tile
    end = min(n, length + step * (first + m - 1))
    count = max(min(KEYS, end - start), 0)
    _score(q, r_at * e, h * e, m, k, at, stride, count, e, queries, tile, sums)
    if row < m:
        for r in range(ROWS):
            seen = length + step * (first + row + r) - start
            high, total = _weigh(
                sums[r, 0], sums[r, 1], scale, min(seen, count), powers, row + r
            )
            if lane == 0 and row + r < m:
                highest[t, r_at + (row + r) * h] = high
                totals[t, r_at + (row + r) * h] = total
    p = 0
    while p < e:
        width = min(CHANNELS, e - p)
        _blend(v, at + p, stride, count, width, m, tile, powers, sums)
        for s in range(2):
            c = lane + 32 * s
            if c < width:
                for r in range(ROWS):
                    if row + r < m:
                        parts[t, r_at + (row + r) * h, p + c] = sums[r, s]
        p += CHANNELS


@gpu_kernel
def _attention_join(highest, totals, parts, y):
    """One thread per cell of y (r e), of which there are parts (t r e).
    Each joins its tiles in their order, as `_attention` does.
    Reads highest e, totals e, parts 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < y.size:
        r, c = i // y.shape[1], i % y.shape[1]
        high, total, held = LOWEST, np.float32(0), np.float32(0)
        t = 0
        while t < parts.shape[0]:
            high, keep, take = _join(high, highest[t, r])
            total = cuda.fma(total, keep, totals[t, r] * take)
            held = cuda.fma(held, keep, parts[t, r, c] * take)
            t += 1
        y[r, c] = held / total


@gpu_inline
def _dot(q, k, image, i, j, head, other):
    score = np.float32(0)
    for c in range(q.shape[3]):
        score += q[image, i, head, c] * k[image, j, other, c]
    return score


@gpu_kernel
def _attention_naive(q, k, v, length, step, scale, y):
    """One thread per query, head and image of q (b m h e), over k (b n r e).
    Three passes over the keys: the highest score, the total, and the sums, kept in y.
    Reads q 3..3 * n, k 0..3 * m * h // r, v 0..m * h // r, y 1..n; writes y 2..n + 1.
    Shared memory: none.
    """
    b, m, h, e = q.shape
    thread = cuda.grid(1)
    if thread < b * m * h:
        image, i, head = thread // (m * h), thread // h % m, thread % h
        other = head // (h // k.shape[2])
        seen = min(k.shape[1], length + step * i)
        highest = LOWEST
        for j in range(seen):
            highest = max(highest, _dot(q, k, image, i, j, head, other) * scale)
        total = np.float32(0)
        for j in range(seen):
            total += math.exp(_dot(q, k, image, i, j, head, other) * scale - highest)
        for c in range(e):
            y[image, i, head, c] = np.float32(0)
        for j in range(seen):
            score = _dot(q, k, image, i, j, head, other) * scale
            weight = math.exp(score - highest) / total
            for c in range(e):
                y[image, i, head, c] += weight * v[image, j, other, c]


def attention(device, q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)"""
    return _run(device, _attention, q, k, v, length, 0)


def attention_causal(device, q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)"""
    return _run(device, _attention_causal, q, k, v, length - q.shape[1] + 1, 1)


def attention_naive(device, q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)

    Return the same as `attention`, from its simplest kernel: a lesson's first rung.

    Heads whose size is no multiple of four go this way too: rows of them do not begin
    where 16 bytes can be read at once, and no model has them.
    """
    return _naive(device, q, k, v, length, 0)


def _run(device, kernel, q, k, v, length, step):
    # query i sees the first length + step i keys
    b, m, h, e = q.shape
    n, r = k.shape[1:3]
    groups = _ceil(m, QUERIES)
    few = groups * h * b < FEW and length + step * (m - 1) > KEYS
    if e % 4:
        return _naive(device, q, k, v, length, step)
    if e > HELD or few:
        return _split(device, q, k, v, length, step)
    y = device.empty(q.shape)
    arguments = *_flat(q, k, v), m, n, e, h // r, r * e, groups, length, _scale(e)
    device.launch(kernel, (groups, h, b), THREADS, *arguments, *_flat(y))
    return y


def _naive(device, q, k, v, length, step):
    b, m, h, e = q.shape
    y = device.empty(q.shape)
    arguments = q, k, v, length, step, _scale(e), y
    device.launch(_attention_naive, _ceil(b * m * h, THREADS), THREADS, *arguments)
    return y


def _split(device, q, k, v, length, step):
    b, m, h, e = q.shape
    n, r = k.shape[1:3]
    groups, rows = _ceil(m, QUERIES), b * m * h
    tiles = _ceil(length + step * (m - 1), KEYS)
    highest, totals = device.empty((tiles, rows)), device.empty((tiles, rows))
    parts, y = device.empty((tiles, rows, e)), device.empty(q.shape)
    arguments = *_flat(q, k, v), m, n, e, h // r, r * e, groups, length, step, _scale(e)
    left = highest, totals, parts
    device.launch(_attention_split, (groups * tiles, h, b), THREADS, *arguments, *left)
    blocks = _ceil(y.size, THREADS)
    device.launch(_attention_join, blocks, THREADS, *left, y.reshape(rows, e))
    return y


def _flat(*arrays):
    return [array.reshape(-1) for array in arrays]


def _scale(e):
    return np.float32(1 / np.sqrt(e))


def _ceil(size, unit):
    return -(-size // unit)
