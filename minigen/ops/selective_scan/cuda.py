"""The selective scan on a GPU: a block scans all tokens of its channels at once.

`_selective_scan_naive` follows the recurrence: a thread takes a channel, and goes from
token to token. Every step waits for the one before it, and two images of 1536 channels
are 3072 threads, where an H200 can run 270 thousand.

`_selective_scan` is parallel over the tokens too. A step of a state is the pair (a, b)
= (exp(delta A), delta x B), and pairs compose (see `cuda_scan.py`). A thread composes
the pairs of its two tokens; a warp scans its 32 threads in five rounds of shuffles; its
last lane writes the composed pair of the warp to shared memory, and every warp composes
those of the warps before it. So each thread knows the state before its tokens, and
takes its two steps. The state before the first token is put into that token's b; the
one after the last goes on to the next 256 tokens, and in the end to `state`. Beyond the
end the step size is zero: a = 1 and b = 0, which leaves a state as it is. So all
threads take part in all shuffles and barriers.

Depth: 2 + 5 + 3 + 2 compositions for 256 tokens, not 256. Work: the exponentials are
the same, multiply-adds about four times as many, and 12 shuffles for two tokens: that
is the price. Bytes: x, delta and y move once, 12 for a channel of a token; no state of
a token is ever written, which would be 4 s (Gu and Dao, section 3.3.2). B and C are the
same for all channels of a group: a block reads 8 s bytes of them for a token, for its
8 channels. They are few, so they come from the L2 cache.

Channels lie side by side in x, and memory is read 32 bytes at a time. A block for one
channel would use 4 of them; so it takes 8 channels, and copies them to shared memory,
where each thread reads its tokens. It keeps four channels in registers, so a number of
B or C is read once for four scans, which do not wait for each other; one barrier serves
all eight.

A single token has nothing to scan: in `_selective_scan_step` eight lanes share the
states of a channel, which are nearly all that is read and written.

(All by arithmetic; not yet measured.)
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import ALL
from minigen.ops.intrinsics import widen
from minigen.ops.selective_scan.cuda_scan import (
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
    warp_scan,
)
from minigen.target import cuda, gpu_inline, gpu_kernel

WARPS = THREADS // 32
"""Warps side by side along the tokens, at most."""

LANES = 8
"""Threads that share the states of a channel in a step."""

STEP_THREADS = 256
"""Threads of a block in a step: they take 32 channels."""


@gpu_inline
def _carry(ends, turn, warp, k):
    # the state that the warps before this one leave
    h = np.float32(0)
    for other in range(WARPS):
        if other < warp:
            h = cuda.fma(ends[turn, other, k, 0], h, ends[turn, other, k, 1])
    return h


@gpu_kernel
def _selective_scan_naive(x, delta, A_log, B, C, D, state, y):
    """One block per 128 channels of x (b n c); of state (b c s), B and C (b n r s).
    A thread takes one channel through all tokens, its state in global memory.
    Reads x 1, delta 1, A_log b*n, B c//r, C c//r, D b, state n; writes y 1, state n.
    Shared memory: none.
    """
    b, n, c = x.shape
    unit = cuda.grid(1)
    if unit < b * c:
        image, k = unit // c, unit % c
        g, skip = k // (c // B.shape[2]), widen(D[k])
        for t in range(n):
            v, step, total = x[image, t, k], delta[image, t, k], np.float32(0)
            for j in range(state.shape[2]):
                decay = math.exp(-step * math.exp(widen(A_log[k, j])))
                h = decay * state[image, k, j] + step * v * B[image, t, g, j]
                state[image, k, j] = h
                total += C[image, t, g, j] * h
            y[image, t, k] = total + skip * v


@gpu_kernel
def _selective_scan_step(x, delta, A_log, B, C, D, state, y):
    """One block per 32 channels of x (b c), one token; of state (b c s), B, C (b r s).
    Eight lanes share out the states of a channel, and add up what it says in shuffles.
    Reads x 8, delta 8, A_log b, B c//r, C c//r, D b, state 1; writes y 1, state 1.
    Shared memory: none.
    """
    b, c = x.shape
    unit = cuda.grid(1) // LANES
    lane = cuda.threadIdx.x & (LANES - 1)
    image, k = unit // c, unit % c
    v, total = np.float32(0), np.float32(0)
    # shuffles need all lanes of a warp, also those that have no channel
    if unit < b * c:
        v, step = x[image, k], delta[image, k]
        g, j = k // (c // B.shape[1]), lane
        while j < state.shape[2]:
            decay = math.exp(-step * math.exp(widen(A_log[k, j])))
            h = decay * state[image, k, j] + step * v * B[image, g, j]
            state[image, k, j] = h
            total += C[image, g, j] * h
            j += LANES
    total += cuda.shfl_xor_sync(ALL, total, 4)
    total += cuda.shfl_xor_sync(ALL, total, 2)
    total += cuda.shfl_xor_sync(ALL, total, 1)
    if unit < b * c and lane == 0:
        y[image, k] = total + widen(D[k]) * v


@gpu_kernel
def _selective_scan(x, delta, A_log, B, C, D, n, r, tiles, t, state, y):
    """One block per image and 8 channels of a group: `tiles` of state (b c s) a group.
    In t turns of 256 tokens a thread takes 2, of 4 channels, one state after the other.
    Reads x 1, delta 1, A_log b*t, B tiles, C tiles, D b, state t; writes y 1, state t.
    Shared memory: 34336 bytes.
    """
    c, s = state.shape[1:]
    xs = cuda.shared.array((WIDTH, PITCH), np.float32)
    steps = cuda.shared.array((WIDTH, PITCH), np.float32)
    Bs = cuda.shared.array((WIDTH, PITCH), np.float32)
    Cs = cuda.shared.array((WIDTH, PITCH), np.float32)
    # of each channel and state: A, and h at the first token, then at the last
    rates = cuda.shared.array((WIDTH, WIDTH), np.float32)
    held = cuda.shared.array((WIDTH, WIDTH), np.float32)
    # what each warp does to the state of each channel; by turns, for two states
    ends = cuda.shared.array((2, WARPS, WIDTH, 2), np.float32)
    skips = cuda.shared.array(WIDTH, np.float32)
    step = cuda.local.array((OWN, TOKENS), np.float32)
    u = cuda.local.array((OWN, TOKENS), np.float32)
    total = cuda.local.array((OWN, TOKENS), np.float32)
    a = cuda.local.array((OWN, TOKENS), np.float32)
    b = cuda.local.array((OWN, TOKENS), np.float32)
    # what all lanes below do to the state
    lower_a = cuda.local.array(OWN, np.float32)
    lower_b = cuda.local.array(OWN, np.float32)
    thread, threads = number()
    place = cuda.threadIdx.x & (THREADS - 1)
    lane, warp, last = place & 31, place // 32, cuda.blockDim.x - 1
    # the first of the tokens and of the channels of a thread
    own, mine = TOKENS * place, OWN * (cuda.threadIdx.y & (ROWS - 1))
    image, g, f = cuda.blockIdx.y, cuda.blockIdx.x // tiles, c // r
    channel = g * f + cuda.blockIdx.x % tiles * WIDTH
    width = min(WIDTH, (g + 1) * f - channel)
    if thread < WIDTH:
        skips[thread] = widen(D[channel + thread]) if thread < width else np.float32(0)
    turn = 0
    while turn < t:
        first = turn * SPAN
        count, row = min(SPAN, n - first), image * n + first
        at = row * c + channel
        stage(x, at, c, count, width, xs)
        stage(delta, at, c, count, width, steps)
        cuda.syncthreads()
        for k in range(OWN):
            for i in range(TOKENS):
                step[k, i] = steps[mine + k, own + i]
                u[k, i] = step[k, i] * xs[mine + k, own + i]
                total[k, i] = np.float32(0)
        j0 = 0
        while j0 < s:
            states = min(WIDTH, s - j0)
            stage(B, (row * r + g) * s + j0, r * s, count, states, Bs)
            stage(C, (row * r + g) * s + j0, r * s, count, states, Cs)
            cell = thread
            while cell < WIDTH * WIDTH:
                k, j = cell // WIDTH, cell & (WIDTH - 1)
                rate, h = np.float32(0), np.float32(0)
                if k < width and j < states:
                    rate = -math.exp(widen(A_log[channel + k, j0 + j]))
                    h = state[image, channel + k, j0 + j]
                rates[k, j], held[k, j] = rate, h
                cell += threads
            cuda.syncthreads()
            j = 0
            while j < states:
                B0, B1 = Bs[j, own], Bs[j, own + 1]
                for k in range(OWN):
                    rate = rates[mine + k, j]
                    a[k, 0], b[k, 0] = math.exp(step[k, 0] * rate), u[k, 0] * B0
                    a[k, 1], b[k, 1] = math.exp(step[k, 1] * rate), u[k, 1] * B1
                    if place == 0:
                        b[k, 0] = cuda.fma(a[k, 0], held[mine + k, j], b[k, 0])
                    low, high = warp_scan(
                        a[k, 0] * a[k, 1], cuda.fma(a[k, 1], b[k, 0], b[k, 1])
                    )
                    if lane == 31:
                        ends[j & 1, warp, mine + k, 0] = low
                        ends[j & 1, warp, mine + k, 1] = high
                    lower_a[k] = before(low, np.float32(1))
                    lower_b[k] = before(high, np.float32(0))
                cuda.syncthreads()
                C0, C1 = Cs[j, own], Cs[j, own + 1]
                for k in range(OWN):
                    h = _carry(ends, j & 1, warp, mine + k)
                    h = cuda.fma(lower_a[k], h, lower_b[k])
                    h = cuda.fma(a[k, 0], h, b[k, 0])
                    total[k, 0] += C0 * h
                    h = cuda.fma(a[k, 1], h, b[k, 1])
                    total[k, 1] += C1 * h
                    if place == last:
                        held[mine + k, j] = h
                j += 1
            cuda.syncthreads()
            cell = thread
            while cell < WIDTH * WIDTH:
                k, j = cell // WIDTH, cell & (WIDTH - 1)
                if k < width and j < states:
                    state[image, channel + k, j0 + j] = held[k, j]
                cell += threads
            j0 += WIDTH
        for k in range(OWN):
            for i in range(TOKENS):
                v = xs[mine + k, own + i]
                xs[mine + k, own + i] = total[k, i] + skips[mine + k] * v
        cuda.syncthreads()
        unstage(xs, y, at, c, count, width)
        cuda.syncthreads()
        turn += 1


def selective_scan(device, x, delta, A_log, B, C, D, state):
    """(b n c), (b n c), (c s), (b n r s), (b n r s), (c), (b c s) -> (b n c), (b c s)

    A single token has a kernel of its own.
    """
    (b, n, c), r = x.shape, B.shape[2]
    if n == 1:
        return _step(device, x, delta, A_log, B, C, D, state), state
    y = device.empty(x.shape)
    tiles, t = -(-(c // r) // WIDTH), -(-n // SPAN)
    sizes = n, r, tiles, t
    arguments = *_flat(x, delta), A_log, *_flat(B, C), D, *sizes, state, *_flat(y)
    device.launch(_selective_scan, (r * tiles, b), block_for(n), *arguments)
    return y, state


def selective_scan_naive(device, x, delta, A_log, B, C, D, state):
    """(b n c), (b n c), (c s), (b n r s), (b n r s), (c), (b c s) -> (b n c), (b c s)

    Return the same from a kernel whose threads loop over time: a first rung.
    """
    b, _, c = x.shape
    y = device.empty(x.shape)
    arguments = x, delta, A_log, B, C, D, state, y
    device.launch(_selective_scan_naive, -(-b * c // THREADS), THREADS, *arguments)
    return y, state


def _step(device, x, delta, A_log, B, C, D, state):
    b, c, s = state.shape
    y, r = device.empty(x.shape), B.shape[2]
    rows = [a.reshape((b, c)) for a in (x, delta, y)]
    B, C = (a.reshape((b, r, s)) for a in (B, C))
    arguments = *rows[:2], A_log, B, C, D, state, rows[2]
    blocks = -(-b * c * LANES // STEP_THREADS)
    device.launch(_selective_scan_step, blocks, STEP_THREADS, *arguments)
    return y


def _flat(*arrays):
    return [array.reshape(-1) for array in arrays]
