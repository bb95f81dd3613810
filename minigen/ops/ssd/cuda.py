"""The scan of Mamba-2 on a GPU: a single token, all of them scanned, or in chunks.

`_ssd_naive` goes from token to token, a thread a channel. `_ssd` scans the tokens as
`_selective_scan` does, with which it shares its layout; but a head forgets as one. Its
decays do not depend on channel or state: so the products of them that the five rounds
of a warp need are made once for 256 tokens and stay in registers, and each of the p s
scans of a head is left with five shuffles of one number, and five multiply-adds. What
stands in a state's way is p s itself, 8192 for a head of Mamba-2.

`ssd_chunked` (cuda_chunked.py) says the same in products of matrices, in which a number
that was read serves 32 multiply-adds. That is why sequences take it, and why `ssd` is
for a single token, where it has a kernel of its own: `_ssd_step`, a warp a channel, as
128 states are 512 bytes side by side.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.ops.intrinsics import widen
from minigen.ops.scans import (
    OWN,
    PITCH,
    ROWS,
    SPAN,
    THREADS,
    TOKENS,
    WIDTH,
    before,
    block_for,
    number,
    stage,
    unstage,
)
from minigen.ops.ssd import cuda_chunked as chunked
from minigen.ops.ssd.cuda_chunked import (
    _ssd_chunked_left,
    _ssd_chunked_outputs,
    _ssd_chunked_scores,
    _ssd_chunked_states,
)
from minigen.ops.warps import ALL, warp_sum
from minigen.target import cuda, gpu_inline, gpu_kernel

WARPS = THREADS // 32
"""Warps side by side along the tokens, at most; channels of a block in a step."""

ROUNDS = 5
"""Rounds in which a warp scans: twice as far each time."""


@gpu_kernel
def _ssd_naive(x, delta, A_log, B, C, D, p, state, y):
    """One block per 128 channels, p a head, of x (b n d); B and C are (b n r s).
    A thread takes one channel through all tokens, its state in global memory.
    Reads x 1, delta p, A_log b*p, B d//r, C d//r, D b*p, state n; writes y 1, state n.
    Shared memory: none.
    """
    b, n, d = x.shape
    unit = cuda.grid(1)
    if unit < b * d:
        image, k = unit // d, unit % d
        head, g, skip = k // p, k // (d // B.shape[2]), widen(D[k // p])
        A = -math.exp(widen(A_log[head]))
        for t in range(n):
            v, step, total = x[image, t, k], delta[image, t, head], np.float32(0)
            decay = math.exp(step * A)
            for j in range(state.shape[2]):
                h = decay * state[image, k, j] + step * v * B[image, t, g, j]
                state[image, k, j] = h
                total += C[image, t, g, j] * h
            y[image, t, k] = total + skip * v


@gpu_kernel
def _ssd_step(x, delta, A_log, B, C, D, p, f, state, y):
    """One block per 4 channels, p a head, of x (b d), a token; B and C are (b r s).
    The lanes of a warp take a channel's states, f threads a head, and sum up at last.
    Reads x 32, delta f, A_log b*f, B d//r, C d//r, D b*p, state 1; writes y 1, state 1.
    Shared memory: none.
    """
    b, d = x.shape
    thread, lane = cuda.grid(1), cuda.threadIdx.x & 31
    image, k = thread // (32 * d), thread // 32 % d
    # a warp has a channel or has none: so all its lanes meet in the shuffles, or none
    if image < b:
        head, g = thread // f % (d // p), k // (d // B.shape[1])
        v, step, total = x[image, k], delta[image, head], np.float32(0)
        decay = math.exp(-step * math.exp(widen(A_log[head])))
        j = lane
        while j < state.shape[2]:
            h = decay * state[image, k, j] + step * v * B[image, g, j]
            state[image, k, j] = h
            total += C[image, g, j] * h
            j += 32
        total = warp_sum(total)
        if lane == 0:
            y[image, k] = total + widen(D[head]) * v


@gpu_inline
def _factors(a, factors):
    # scan the decays of a warp; factors: what is behind a lane decays by, in each round
    lane = cuda.threadIdx.x & 31
    for e in range(ROUNDS):
        lower = cuda.shfl_up_sync(ALL, a, 1 << e)
        factors[e] = a if lane >= 1 << e else np.float32(0)
        a = a * lower if lane >= 1 << e else a
    return a


@gpu_inline
def _scan(b, factors):
    for e in range(ROUNDS):
        b = cuda.fma(factors[e], cuda.shfl_up_sync(ALL, b, 1 << e), b)
    return b


@gpu_inline
def _carry(decays, ends, turn, warp, k):
    # the state that the warps before this one leave
    value = np.float32(0)
    for other in range(WARPS):
        if other < warp:
            value = cuda.fma(decays[other], value, ends[turn, other, k])
    return value


@gpu_kernel
def _ssd(x, delta, A_log, B, C, D, n, r, q, f, t, state, y):
    """One block per image and 8 channels, q a head and f a group, of state (b h p s).
    In t turns of 256 tokens a thread takes 2, of 4 channels, one state after the other.
    Reads x 1, delta q, A_log b*q, B f, C f, D b*q, state t; writes y 1, state t.
    Shared memory: 26520 bytes.
    """
    xs = cuda.shared.array((WIDTH, PITCH), np.float32)
    Bs = cuda.shared.array((WIDTH, PITCH), np.float32)
    Cs = cuda.shared.array((WIDTH, PITCH), np.float32)
    steps = cuda.shared.array(SPAN, np.float32)
    # of each channel and state: h at the first token, then at the last
    held = cuda.shared.array((WIDTH, WIDTH), np.float32)
    # how much a state decays in each warp, and what is added; by turns, for two states
    decays = cuda.shared.array(WARPS, np.float32)
    ends = cuda.shared.array((2, WARPS, WIDTH), np.float32)
    both = cuda.shared.array(2, np.float32)
    a = cuda.local.array(TOKENS, np.float32)
    factors = cuda.local.array(ROUNDS, np.float32)
    u = cuda.local.array((OWN, TOKENS), np.float32)
    total = cuda.local.array((OWN, TOKENS), np.float32)
    b = cuda.local.array((OWN, TOKENS), np.float32)
    lower_b = cuda.local.array(OWN, np.float32)
    h, p, s = state.shape[1:]
    thread, threads = number()
    place = cuda.threadIdx.x & (THREADS - 1)
    lane, warp, last = place & 31, place // 32, cuda.blockDim.x - 1
    # the first of the tokens and of the channels of a thread
    own, mine = TOKENS * place, OWN * (cuda.threadIdx.y & (ROWS - 1))
    image, head, g = cuda.blockIdx.y, cuda.blockIdx.x // q, cuda.blockIdx.x // f
    channel = cuda.blockIdx.x % q * WIDTH
    width = min(WIDTH, p - channel)
    if thread == 0:
        both[0], both[1] = -math.exp(widen(A_log[head])), widen(D[head])
    turn = 0
    while turn < t:
        first = turn * SPAN
        count, row = min(SPAN, n - first), image * n + first
        at = (row * h + head) * p + channel
        stage(x, at, h * p, count, width, xs)
        token = thread
        while token < TOKENS * cuda.blockDim.x:
            step = np.float32(0)
            if token < count:
                step = delta[(row + token) * h + head]
            steps[token] = step
            token += threads
        cuda.syncthreads()
        for i in range(TOKENS):
            a[i] = math.exp(steps[own + i] * both[0])
            for k in range(OWN):
                u[k, i] = steps[own + i] * xs[mine + k, own + i]
                total[k, i] = np.float32(0)
        decay = _factors(a[0] * a[1], factors)
        if lane == 31 and mine == 0:
            decays[warp] = decay
        lower_a = before(decay, np.float32(1))
        j0 = 0
        while j0 < s:
            states = min(WIDTH, s - j0)
            stage(B, (row * r + g) * s + j0, r * s, count, states, Bs)
            stage(C, (row * r + g) * s + j0, r * s, count, states, Cs)
            cell = thread
            while cell < WIDTH * WIDTH:
                k, j = cell // WIDTH, cell & (WIDTH - 1)
                value = np.float32(0)
                if k < width and j < states:
                    value = state[image, head, channel + k, j0 + j]
                held[k, j] = value
                cell += threads
            cuda.syncthreads()
            j = 0
            while j < states:
                B0, B1 = Bs[j, own], Bs[j, own + 1]
                for k in range(OWN):
                    b[k, 0], b[k, 1] = u[k, 0] * B0, u[k, 1] * B1
                    if place == 0:
                        b[k, 0] = cuda.fma(a[0], held[mine + k, j], b[k, 0])
                    sum_ = _scan(cuda.fma(a[1], b[k, 0], b[k, 1]), factors)
                    if lane == 31:
                        ends[j & 1, warp, mine + k] = sum_
                    lower_b[k] = before(sum_, np.float32(0))
                cuda.syncthreads()
                C0, C1 = Cs[j, own], Cs[j, own + 1]
                for k in range(OWN):
                    value = _carry(decays, ends, j & 1, warp, mine + k)
                    value = cuda.fma(lower_a, value, lower_b[k])
                    value = cuda.fma(a[0], value, b[k, 0])
                    total[k, 0] += C0 * value
                    value = cuda.fma(a[1], value, b[k, 1])
                    total[k, 1] += C1 * value
                    if place == last:
                        held[mine + k, j] = value
                j += 1
            cuda.syncthreads()
            cell = thread
            while cell < WIDTH * WIDTH:
                k, j = cell // WIDTH, cell & (WIDTH - 1)
                if k < width and j < states:
                    state[image, head, channel + k, j0 + j] = held[k, j]
                cell += threads
            j0 += WIDTH
        for k in range(OWN):
            for i in range(TOKENS):
                v = xs[mine + k, own + i]
                xs[mine + k, own + i] = total[k, i] + both[1] * v
        cuda.syncthreads()
        unstage(xs, y, at, h * p, count, width)
        cuda.syncthreads()
        turn += 1


def ssd(device, x, delta, A_log, B, C, D, state):
    # (b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    # -> (b n h p), (b h p s)
    """Return y of every token, one after the other, and the state, moved on in place.

    delta: step sizes, not negative. Each of the r groups of consecutive heads shares
    its B and C. A single token has a kernel of its own.
    """
    b, n, h, p = x.shape
    r = B.shape[2]
    y = device.empty(x.shape)
    if n == 1:
        return _step(device, x, delta, A_log, B, C, D, state, y)
    q, t = -(-p // WIDTH), -(-n // SPAN)
    x, delta, B, C = (array.reshape(-1) for array in (x, delta, B, C))
    arguments = x, delta, A_log, B, C, D, n, r, q, h // r * q, t, state, y.reshape(-1)
    device.launch(_ssd, (h * q, b), block_for(n), *arguments)
    return y, state


def ssd_naive(device, x, delta, A_log, B, C, D, state):
    # (b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    # -> (b n h p), (b h p s)
    """Return the same from a kernel whose threads loop over time: a first rung."""
    b, n, h, p = x.shape
    y = device.empty(x.shape)
    rows = [array.reshape((b, n, h * p)) for array in (x, y)]
    cells = state.reshape((b, h * p, state.shape[3]))
    arguments = rows[0], delta, A_log, B, C, D, p, cells, rows[1]
    device.launch(_ssd_naive, -(-b * h * p // THREADS), THREADS, *arguments)
    return y, state


def ssd_chunked(device, x, delta, A_log, B, C, D, state, chunk):
    # (b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    # -> (b n h p), (b h p s)
    """Return the same as `ssd`, `chunk` tokens at a time."""
    b, n, h, p = x.shape
    r, s = B.shape[2:]
    y = device.empty(x.shape)
    if n == 0:
        return y, state
    # chunks, tiles of tokens in a chunk, of channels, and of states
    chunk = min(chunk, n)
    m = -(-n // chunk)
    u, q, t = (-(-size // chunked.TILE) for size in (chunk, p, s))
    CB, decays = device.empty((b, n, r, chunk)), device.empty((b, m, h))
    left = device.empty((b, m, h, p * s))

    def launch(kernel, grid, *arguments):
        device.launch(kernel, grid, chunked.THREADS, *arguments)

    x, delta, B, C = (a.reshape(-1) for a in (x, delta, B, C))
    launch(_ssd_chunked_scores, (u * u, r * m, b), B, C, n, chunk, u, s, CB)
    sizes = n, chunk, p, r, s, q, t
    grid = h * q * t, m, b
    launch(_ssd_chunked_left, grid, x, delta, A_log, B, *sizes, decays, left)
    cells = state.reshape((b, h, p * s))
    blocks = -(-b * h * p * s // chunked.THREADS)
    launch(_ssd_chunked_states, blocks, decays, left, cells)
    given = x, delta, A_log, C, D, CB, left.reshape(-1)
    sizes = n, chunk, p, s, h // r * q, q, m * u, u
    launch(_ssd_chunked_outputs, (h * q, m * u, b), *given, *sizes, y.reshape(-1))
    return y, state


def _step(device, x, delta, A_log, B, C, D, state, y):
    b, _, h, p = x.shape
    rows = [array.reshape((b, h * p)) for array in (x, y)]
    B, C = (array.reshape((b, *array.shape[2:])) for array in (B, C))
    cells = state.reshape((b, h * p, state.shape[3]))
    arguments = (
        rows[0],
        delta.reshape((b, h)),
        A_log,
        B,
        C,
        D,
        p,
        32 * p,
        cells,
        rows[1],
    )
    device.launch(_ssd_step, -(-b * h * p // WARPS), THREADS, *arguments)
    return y, state
