"""A draw from the guided density of a feature on a GPU: a block for each row.

The reference sorts the points, works in float64 and adds up areas one by one. Here:

- The points of a component are in order already. So a point's place among all is its
  place in its own component, and how many of each other come before it: seven steps of
  halving each. Points of equal value keep the order of their components.
- The powers are float32. They are off by what their terms add up to, P e with e =
  2**-24, as any log-density here; that moves the distribution function by at most the
  mean of P e over the density.
- The points are float32 too. Moved by e of its own size X, a point moves the function
  by e X times half of what the density changes between its neighbours; and the result
  by e X itself.
- Sums are exact. An area, divided by about the sum of all, is at most 1, and becomes a
  integer multiple of 2**-46 (as in `ops/draw/cuda.py`): none is off by more than 5 e of
  itself and 2**-46. Any order of adding up comes to the same bits, and a larger uniform
  never falls into an earlier stretch.

Within a stretch of width 1 whose density goes from a to b, a share r of the area lies
below s = r (a + b) / (a + sqrt((1 - r) a^2 + r b^2)), which subtracts nothing.
`minigen check` allows 4 times these errors (`spec.py`), and nothing more.

In the kernel w, mu and v are weights, means and log-variances, w0, mu0 and v0 those of
the other mixture, u is the uniforms; `weight` is what exceeds 1 of the guidance.

What differs: a stretch of less than 2**-46 of all area is never drawn, so the uniform 1
draws the end of the last that has more, not the last point.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.errors import ShapeError
from minigen.gpu.flag import inside_unit, refuse
from minigen.gpu.warps import ALL, NOTHING, block_max, block_sum
from minigen.ops.guided_mixture.reference import (
    COLDEST,
    FARTHEST,
    NARROWEST,
    POINTS,
    REACH,
    WIDEST,
)
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 256
WARPS = THREADS // 32

MOST = 32
"""The most components of a mixture: shared memory has room for two such."""

BOTH = 2 * MOST
ROOM = BOTH * POINTS

_PLAIN, _STRETCHED, _OTHER = 0, 1, 2
_FIRST, _STEP = np.float32(-REACH), np.float32(2 * REACH / (POINTS - 1))
_UNIT, _SHARES = np.float32(2**46), np.float32(2**31)
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_FARTHEST, _WIDEST = np.float32(FARTHEST), np.float32(WIDEST)
_NARROWEST, _INFINITE = np.float32(NARROWEST), np.float32(np.inf)


@gpu_inline
def _terms(k, which, weight, log, heights, precisions):
    # of component k: the constant of its exponent, and half its precision
    heights[which, k] = math.log(weight) - _HALF * log
    precisions[which, k] = _HALF * math.exp(-log)


@gpu_inline
def _fits(weight, mean, log, spread, flag):
    # whether float32 has room for a component (NaN is in no bounds)
    good = weight >= np.float32(0) and weight < _INFINITE and abs(mean) <= _FARTHEST
    good = good and log >= _NARROWEST and log <= _WIDEST
    good = good and log + spread >= _NARROWEST and log + spread <= _WIDEST
    if not good:
        refuse(flag)
    return good


@gpu_inline
def _point(k, j, centres, deviations):
    # point j of component k; components of the other mixture come after the first's
    return cuda.fma(deviations[k], cuda.fma(np.float32(j), _STEP, _FIRST), centres[k])


@gpu_inline
def _place(points, at, components):
    # how many points are less than points[at]
    v, own = points[at], at // POINTS
    place = at % POINTS
    for k in range(components):
        if k != own:
            low, high = 0, POINTS
            while low < high:
                middle = (low + high) >> 1
                there = points[k * POINTS + middle]
                if there < v or (there == v and k < own):
                    low = middle + 1
                else:
                    high = middle
            place += low
    return place


@gpu_inline
def _log(x, which, g, centres, heights, precisions):
    first = g if which == _OTHER else 0
    highest = NOTHING
    for k in range(g):
        away = x - centres[first + k]
        power = heights[which, k] - away * away * precisions[which, k]
        highest = max(highest, power)
    total = np.float32(0)
    for k in range(g):
        away = x - centres[first + k]
        power = heights[which, k] - away * away * precisions[which, k]
        total += math.exp(power - highest)
    return highest + math.log(total)


@gpu_inline
def _area(x, q, j):
    # between points j and j + 1
    return _HALF * (q[j] + q[j + 1]) * (x[j + 1] - x[j])


@gpu_inline
def _whole(x, q, j, total):
    return np.int64(_area(x, q, j) / total * _UNIT)


@gpu_inline
def _part(total, shares):
    # floor(total * shares / 2**31), though the product may have more than 64 bits
    return (total >> 31) * shares + ((total & 0x7FFFFFFF) * shares >> 31)


@gpu_inline
def _below(r, a, b):
    # where, between 0 and 1, the share r of the area under a line from a to b ends
    largest = max(a, b)
    a, b = a / largest, b / largest
    root = math.sqrt((np.float32(1) - r) * a * a + r * b * b)
    # a and r may both be 0
    return min(r * (a + b) / max(a + root, np.float32(1e-30)), np.float32(1))


@gpu_kernel
def _draw_guided(w, mu, v, w0, mu0, v0, u, weight, stretch, spread, y, flag):
    """One block per row of w (b g), for two mixtures of g components.
    Threads have a point each, then a few neighbours, in one of which is the result.
    Reads w 1, mu 1, v 1, w0 1, mu0 1, v0 1, u THREADS; writes y 1.
    Shared memory: 8 * ROOM + 40 * MOST + 384 bytes.
    """
    q = cuda.shared.array(ROOM, np.float32)
    x = cuda.shared.array(ROOM, np.float32)
    centres = cuda.shared.array(BOTH, np.float32)
    deviations = cuda.shared.array(BOTH, np.float32)
    heights = cuda.shared.array((3, MOST), np.float32)
    precisions = cuda.shared.array((3, MOST), np.float32)
    partial = cuda.shared.array(32, np.float32)
    sums = cuda.shared.array(32, np.int64)
    i, t, g = cuda.blockIdx.x, cuda.threadIdx.x, w.shape[1]
    lane, warp, n = t % 32, t // 32, 2 * g * POINTS
    shares = np.int64(inside_unit(u[i], flag) * _SHARES)
    if t < g:
        size, mean, log = w[i, t], mu[i, t], v[i, t]
        if not _fits(size, mean, log, spread, flag):
            size, mean, log = _ONE, _ZERO, _ZERO
        centres[t] = mean
        deviations[t] = math.exp(_HALF * log) * stretch
        _terms(t, _PLAIN, size, log, heights, precisions)
        _terms(t, _STRETCHED, size, log + spread, heights, precisions)
        size, mean, log = w0[i, t], mu0[i, t], v0[i, t]
        if not _fits(size, mean, log, _ZERO, flag):
            size, mean, log = _ONE, _ZERO, _ZERO
        centres[g + t] = mean
        deviations[g + t] = math.exp(_HALF * log)
        _terms(t, _OTHER, size, log, heights, precisions)
    cuda.syncthreads()

    # all points, none beyond the first mixture's; q holds them until they are sorted
    low = _point(0, 0, centres, deviations)
    high = _point(0, POINTS - 1, centres, deviations)
    for k in range(1, g):
        low = min(low, _point(k, 0, centres, deviations))
        high = max(high, _point(k, POINTS - 1, centres, deviations))
    for j in range(t, n, THREADS):
        there = _point(j // POINTS, j % POINTS, centres, deviations)
        q[j] = min(max(there, low), high)
    cuda.syncthreads()
    for j in range(t, n, THREADS):
        x[_place(q, j, 2 * g)] = q[j]
    cuda.syncthreads()

    highest = NOTHING
    for j in range(t, n, THREADS):
        plain = _log(x[j], _PLAIN, g, centres, heights, precisions)
        ratio = plain - _log(x[j], _OTHER, g, centres, heights, precisions)
        power = _log(x[j], _STRETCHED, g, centres, heights, precisions)
        power += weight * ratio
        q[j] = power
        # an infinite one makes all of them NaN
        highest = max(highest, abs(power) if math.isinf(power) else power)
    highest = block_max(highest, partial)
    for j in range(t, n, THREADS):
        q[j] = math.exp(q[j] - highest)
    cuda.syncthreads()

    # areas are divided by this: then the integers do not overflow, and lose little
    near = np.float32(0)
    for j in range(t, n - 1, THREADS):
        near += _area(x, q, j)
    near = block_sum(near, partial)
    if near > np.float32(0):
        # each thread has some consecutive areas, and the sum of those before them
        each = -(-(n - 1) // THREADS)
        first, last = t * each, min((t + 1) * each, n - 1)
        own = np.int64(0)
        for j in range(first, last):
            own += _whole(x, q, j, near)
        before = own
        for k in range(5):
            less = cuda.shfl_up_sync(ALL, before, 1 << k)
            before += less if lane >= 1 << k else np.int64(0)
        if lane == 31:
            sums[warp] = before
        cuda.syncthreads()
        before -= own
        total = np.int64(0)
        for k in range(WARPS):
            if k < warp:
                before += sums[k]
            total += sums[k]
        limit = min(_part(total, shares), total - 1)
        for j in range(first, last):
            area = _whole(x, q, j, near)
            if before <= limit and limit < before + area:
                share = np.float32(limit - before) / np.float32(area)
                width = x[j + 1] - x[j]
                y[i] = min(x[j] + _below(share, q[j], q[j + 1]) * width, x[j + 1])
            before += area
    elif t == 0:
        # all points are one, or there is no density
        y[i] = x[0]
        if near != _ZERO:
            refuse(flag)


def draw_guided(
    device,
    weights,
    means,
    logs,
    other_weights,
    other_means,
    other_logs,
    uniforms,
    weight,
    stretch,
):
    """(b g), (b g), (b g), (b g), (b g), (b g), (b) -> (b)

    uniforms: float32. What the reference refuses sets the device's flag. ShapeError for
    a g of more than 32. How near this comes to the reference is said above.
    """
    arrays = weights, means, logs, other_weights, other_means, other_logs
    b, g = weights.shape
    if g > MOST:
        raise ShapeError(f"a mixture has {g} components, expected at most {MOST}")
    y = device.empty((b,))
    stretch = max(float(stretch), COLDEST)
    scalars = weight - 1, stretch, 2 * math.log(stretch)
    scalars = [np.float32(value) for value in scalars]
    given = *arrays, uniforms, *scalars, y, device.flag
    device.launch(_draw_guided, b, THREADS, *given)
    return y
