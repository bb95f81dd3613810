"""From logits to probabilities to tokens on a GPU: a block of threads a row.

The reference sorts a row, and adds up in float64. Here nothing is sorted and nothing is
float64. Two ideas take the place of both.

Weights are integers. A weight w of at most 1 becomes floor(w 2**46), and a float32
of at least 2**-23 loses nothing by it. Sums of integers are exact, so they do not
depend on who adds up what, and when: any number of threads comes to the same bits, and
two sums can be compared without a doubt. An int64 has room for 2**16 weights.

A limit is found by halving. The bits of float32 numbers, read as integers, are in the
order of the numbers (`_rank`). So the k-th largest logit is the largest rank that at
least k entries reach, and the last logit that top_p keeps is the smallest rank above
which there is little enough: at most 32 rounds, each of one pass over the row. A thread
keeps its entries in registers, ranked and weighed once: so a round is a comparison and
an addition for each.

How near this comes to the reference, with e = 2**-24 and v tokens:

- top_k keeps the same entries, always.
- draw gives the same token, unless u is within v 2**-46 of a boundary between two
  tokens, where the row sums to 1: each weight below 2**-23 may lose 2**-46. A uniform
  that is no multiple of 2**-31 (those of `ops/uniforms` are) may lose 2**-31 itself.
  A token of probability zero is never drawn. A row whose largest weight is above 2, or
  less than a row that sums to 1 can have, is divided by that first.
- top_p keeps the same entries, except those before which the others sum to top_p, give
  or take (4 + log v) e + v 2**-46 + 2**-31: less than 10**-6 for 16384 tokens.
  The weight exp(-d) of an entry d below the largest, in float32, is off by (d + 4) e
  of itself: d e since d is rounded, 4 e for two units in the last place of exp. That
  moves a sum by at most the mean of (d + 4) e over all probability. The mean of d is
  the entropy less the logarithm of the sum of all exp(-d): so at most log v.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.errors import ShapeError
from minigen.gpu.flag import inside_unit, refuse
from minigen.gpu.warps import ALL, NOTHING, block_max, block_sum, warp_sum
from minigen.ops.draw.reference import COLDEST
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 512
"""The most threads of a block; a short row has fewer, for four entries each."""

MOST = 2**16
"""How many weights an int64 can add up without overflow."""

HELD = 32
"""Entries that a thread keeps in registers while it looks for a limit; a row of more
than THREADS times as many is read again, from there on, in every round."""

NONE = np.float32(np.nan)
"""Every NaN logit becomes this one, whose sign bit is 0."""

INFINITE = np.float32(np.inf)
"""The largest weight of a row that cannot be drawn from."""

_LEAST, _MOST = np.float32(2**-17), np.float32(2)
_LOWEST, _HIGHEST = np.int64(-(2**31)), np.int64(2**31)
_NO_RANK = _HIGHEST + np.int64(1)
_UNIT, _SHARES = np.float32(2**46), np.float32(2**31)


@gpu_inline
def _rank(z):
    # negative numbers have the order of their bits reversed
    bits = np.int64(cuda.libdevice.float_as_int(z))
    return bits if bits >= 0 else bits ^ 0x7FFFFFFF


@gpu_inline
def _whole(weight):
    return np.int64(weight * _UNIT)


@gpu_inline
def _weigh(value, highest):
    # the weight of an entry, as a whole number
    return _whole(math.exp(value - highest))


@gpu_inline
def _portion(weight, divisor, least):
    return max(
        _whole(weight / divisor), least if weight > np.float32(0) else np.int64(0)
    )


@gpu_inline
def _part(total, shares):
    # floor(total * shares / 2**31), though the product may have more than 64 bits
    return (total >> 31) * shares + ((total & 0x7FFFFFFF) * shares >> 31)


@gpu_inline
def _sum_of_warps(value, sums, count):
    # the int64 sum over the first `count` warps of the block
    lane = cuda.threadIdx.x & 31
    value = warp_sum(value)
    if lane == 0:
        sums[cuda.threadIdx.x // 32] = value
    cuda.syncthreads()
    value = warp_sum(sums[lane] if lane < count else np.int64(0))
    # no thread may write the next sums before all have read these
    cuda.syncthreads()
    return value


@gpu_inline
def _running_sum(value):
    # the sum over the lanes up to this one
    lane = cuda.threadIdx.x % 32
    for k in range(5):
        below = cuda.shfl_up_sync(ALL, value, 1 << k)
        value += below if lane >= 1 << k else np.int64(0)
    return value


@gpu_kernel
def _probabilities_scaled(logits, divisor, z):
    """One block per THREADS cells of logits (n).
    A thread divides one of them; a negative zero becomes a positive one, and so a NaN.
    Reads logits 1; writes z 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < logits.shape[0]:
        scaled = logits[i] / divisor + np.float32(0)
        # of all ranks that of a positive NaN is the highest: no filter removes it
        z[i] = scaled if scaled == scaled else NONE


@gpu_inline
def _stretch(v):
    # the lane's first entry in its warp's stretch of a row of v, and where that ends;
    # & tells the compiler that neither is negative
    lane, warp = cuda.threadIdx.x & 31, (cuda.threadIdx.x >> 5) & 15
    stretch = -(-v // cuda.blockDim.x) * 32
    return warp * stretch + lane, min((warp + 1) * stretch, v)


@gpu_kernel(threads=THREADS)
def _probabilities_top_k(k, z):
    """One block per row of z (n v).
    Threads hold up to 32 ranks each, and count up to 32 times which reach a middle.
    Reads z 1..33; writes z 0..1.
    Shared memory: 256 bytes.
    512 threads leave room for 128 registers each: a few addresses are in memory.
    """
    sums = cuda.shared.array(32, np.int64)
    ranks = cuda.local.array(HELD, np.int32)
    i, v, warps = cuda.blockIdx.x, z.shape[1], cuda.blockDim.x // 32
    first, last = _stretch(v)
    for s in range(HELD):
        j = first + 32 * s
        ranks[s] = _rank(z[i, j]) if j < last else _LOWEST
    # `reached` entries reach low, and that is at least k; fewer reach high
    low, high, reached = _LOWEST, _HIGHEST, np.int64(v)
    while reached > k and low + 1 < high:
        middle = np.int32((low + high) >> 1)
        count = np.int64(0)
        for s in range(HELD):
            count += ranks[s] >= middle
        j = first + 32 * HELD
        while j < last:
            count += _rank(z[i, j]) >= middle
            j += 32
        count = _sum_of_warps(count, sums, warps)
        if count >= k:
            low, reached = np.int64(middle), count
        else:
            high = np.int64(middle)
    j = first
    while j < last:
        if _rank(z[i, j]) < low:
            z[i, j] = NOTHING
        j += 32


@gpu_kernel(threads=THREADS)
def _probabilities_top_p(shares, z):
    """One block per row of z (n v).
    Threads hold up to 32 ranks and weights each; 32 times they weigh what is above.
    Reads z 4..36; writes z 0..1.
    Shared memory: 384 bytes.
    512 threads leave room for 128 registers each: a few addresses are in memory.
    """
    partial = cuda.shared.array(32, np.float32)
    sums = cuda.shared.array(32, np.int64)
    ranks = cuda.local.array(HELD, np.int32)
    weights = cuda.local.array(HELD, np.int64)
    i, v, warps = cuda.blockIdx.x, z.shape[1], cuda.blockDim.x // 32
    first, last = _stretch(v)
    highest, j = NOTHING, first
    while j < last:
        highest = max(highest, z[i, j])
        j += 32
    highest = block_max(highest, partial)
    total = np.int64(0)
    for s in range(HELD):
        j = first + 32 * s
        ranks[s], weights[s] = _LOWEST, np.int64(0)
        if j < last:
            value = z[i, j]
            ranks[s], weights[s] = _rank(value), _weigh(value, highest)
        total += weights[s]
    j = first + 32 * HELD
    while j < last:
        total += _weigh(z[i, j], highest)
        j += 32
    limit = _part(_sum_of_warps(total, sums, warps), shares)

    # above low there is more than the limit, above high there is `before` and no more
    low, high, before = _LOWEST, _HIGHEST, np.int64(0)
    for _ in range(32):
        middle = np.int32((low + high) >> 1)
        above = np.int64(0)
        for s in range(HELD):
            above += weights[s] if ranks[s] > middle else np.int64(0)
        j = first + 32 * HELD
        while j < last:
            value = z[i, j]
            above += _weigh(value, highest) if _rank(value) > middle else np.int64(0)
            j += 32
        above = _sum_of_warps(above, sums, warps)
        if above > limit:
            low = np.int64(middle)
        else:
            high, before = np.int64(middle), above

    # entries of rank high stay, by index, until those before them are more than the
    # limit; each warp has a stretch of the row, and asks how many come before that
    ties, j = np.int64(0), first
    while j < last:
        ties += _rank(z[i, j]) == high
        j += 32
    ties = _sum_of_warps(ties, sums, cuda.threadIdx.x // 32)
    j, lane = first, cuda.threadIdx.x & 31
    while j - lane < last:
        value = z[i, j] if j < last else NOTHING
        # of a row without numbers all ranks are below the limit's, which is _HIGHEST
        rank = _rank(value) if j < last else _NO_RANK
        tied = cuda.ballot_sync(ALL, rank == high)
        if rank < high:
            z[i, j] = NOTHING
        elif rank == high:
            earlier = ties + cuda.popc(tied & ((1 << lane) - 1))
            if before + earlier * _weigh(value, highest) > limit:
                z[i, j] = NOTHING
        ties += cuda.popc(tied)
        j += 32


@gpu_kernel
def _probabilities(z, y):
    """One block per row of z (n v).
    Threads stride along it, and find its maximum and its sum together.
    Reads z 2, y 1; writes y 2.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, v = cuda.blockIdx.x, z.shape[1]
    highest = NOTHING
    for j in range(cuda.threadIdx.x, v, cuda.blockDim.x):
        highest = max(highest, z[i, j])
    highest = block_max(highest, partial)
    total = np.float32(0)
    for j in range(cuda.threadIdx.x, v, cuda.blockDim.x):
        weight = math.exp(z[i, j] - highest)
        y[i, j] = weight
        total += weight
    total = block_sum(total, partial)
    for j in range(cuda.threadIdx.x, v, cuda.blockDim.x):
        y[i, j] = y[i, j] / total


@gpu_kernel
def _draw(p, u, tokens, flag):
    """One block per row of p (n v), with a thread for four entries or more.
    A warp adds up a stretch of the row, and walks along it if the token may be there.
    Reads p 1..3, u 0..THREADS; writes tokens 1.
    Shared memory: 392 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    sums = cuda.shared.array(32, np.int64)
    found = cuda.shared.array(1, np.int64)
    i, v, warps = cuda.blockIdx.x, p.shape[1], cuda.blockDim.x // 32
    lane, warp = cuda.threadIdx.x % 32, cuda.threadIdx.x // 32
    stretch = -(-v // cuda.blockDim.x) * 32
    first, last = warp * stretch, min((warp + 1) * stretch, v)
    highest = np.float32(0)
    for j in range(first + lane, last, 32):
        # a NaN is not at least 0 either
        weight = p[i, j]
        highest = max(highest, weight if weight >= np.float32(0) else INFINITE)
    highest = block_max(highest, partial)
    if highest == np.float32(0) or highest == INFINITE:
        if cuda.threadIdx.x == 0:
            refuse(flag)
            tokens[i] = 0
        return
    usual = highest >= _LEAST and highest <= _MOST
    divisor = np.float32(1) if usual else highest
    if cuda.threadIdx.x == 0:
        found[0] = 0
    place = inside_unit(u[i], flag)
    # the uniform 0 draws the first that has any probability, as little as it may be
    least = np.int64(1) if place == np.float32(0) else np.int64(0)
    own = np.int64(0)
    for j in range(first + lane, last, 32):
        own += _portion(p[i, j], divisor, least)
    total = _sum_of_warps(own, sums, warps)
    before = _sum_of_warps(own, sums, warp)
    # the token is the first one up to which there is more than the limit
    limit = min(_part(total, np.int64(place * _SHARES)), total - 1)
    start = first
    while start < last and before <= limit:
        j = start + lane
        weight = p[i, j] if j < last else np.float32(0)
        upto = before + _running_sum(_portion(weight, divisor, least))
        more = cuda.ballot_sync(ALL, upto > limit)
        if lane == 0 and more != 0:
            found[0] = start + cuda.ffs(more) - 1
        before = cuda.shfl_sync(ALL, upto, 31)
        start += 32
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        tokens[i] = found[0]


def probabilities(device, logits, temperature, top_k, top_p):
    """(b m v) -> (b m v)

    How near this comes to the reference is said above. Raises ShapeError for a v of
    more than 65536.
    """
    v, threads = _sizes(logits)
    n = logits.size // v
    z, y = device.empty(logits.shape), device.empty(logits.shape)
    divisor = np.float32(max(temperature, COLDEST))
    cells = logits.reshape(-1), divisor, z.reshape(-1)
    device.launch(_probabilities_scaled, -(-logits.size // THREADS), THREADS, *cells)
    z_rows, y_rows = z.reshape(n, v), y.reshape(n, v)
    holders = min(THREADS, -(-v // (32 * HELD)) * 32)
    if top_k > 0:
        device.launch(_probabilities_top_k, n, holders, np.int64(min(top_k, v)), z_rows)
    if top_p < 1:
        shares = np.int64(max(top_p, 0) * 2**31)
        device.launch(_probabilities_top_p, n, holders, shares, z_rows)
    device.launch(_probabilities, n, threads, z_rows, y_rows)
    return y


def draw(device, probabilities, uniforms):
    """(b m v), (b m) -> (b m)

    A row that cannot be drawn from, or a uniform outside of 0 .. 1, sets the device's
    flag. How near this comes to the reference is said above. Raises ShapeError for a v
    of more than 65536.
    """
    v, threads = _sizes(probabilities)
    n = probabilities.size // v
    tokens = device.empty(uniforms.shape, np.int64)
    rows = probabilities.reshape(n, v), uniforms.reshape(n), tokens.reshape(n)
    device.launch(_draw, n, threads, *rows, device.flag)
    return tokens


def _sizes(rows):
    # v, and the threads of a block: whole warps
    v = rows.shape[-1]
    if v > MOST:
        raise ShapeError(f"a row has {v} entries, expected at most {MOST}")
    return v, min(THREADS, -(-v // 128) * 32)
