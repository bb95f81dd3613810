"""The scan of Mamba-2 in chunks, on a GPU: products of matrices, and one short walk.

It goes as `ssd_chunked` of the reference does, a kernel for each of its lines:
`_scores` multiplies C by B, for all heads of a group at once; `_left` adds up what the
tokens of a chunk add to the state; `_states` goes over the chunks, and replaces this
sum of each chunk by the state before it; `_outputs` multiplies scores by decay and by
the inputs, and adds the part of the state before. All but `_states` take all chunks at
once: of 256 tokens in chunks of 64 that is four times as many blocks.

Three of them are products of two matrices, and share their inner loop: a block makes 64
x 64 sums, 16 terms of each at a time, from two tiles (16 64) in shared memory; a thread
keeps 8 x 4 of them in registers, 32 multiply-adds for 12 numbers that it reads.

An exponent is a sum over the tokens between two: it is added up from the later to the
earlier one, so nothing is ever subtracted from a sum, and a row's thread carries it
from tile to tile.

Its cost, for a head of 64 channels and 128 states, and chunks of 64: a token takes 2 x
64 x 128 multiply-adds with states and 64 x 64 with other tokens, half of which are
zeros, and a 24th of 64 x 128 for scores that 24 heads share. The states are most of the
memory traffic: 32 KB a chunk, written, read, written and read, 2 KB for a token whose x
and y are 512 bytes. Longer chunks would move less and multiply more. (By arithmetic;
not yet measured.)
"""

from __future__ import annotations

import math

import numpy as np

from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128

TILE = 64
"""Rows and columns of the sums that a block makes."""

DEPTH = 16
"""Terms of each sum that are in shared memory at a time."""

PITCH = 68
"""Width of a row of a tile: a multiple of 4, so that four cells are read at once."""

TALL, WIDE = 8, 4
"""Rows and columns of the sums of a thread."""


@gpu_inline
def _place():
    # the first row and the first column of a thread's sums
    thread = cuda.threadIdx.x & (THREADS - 1)
    return thread // 16 * TALL, (thread & 15) * WIDE


@gpu_inline
def _filled(count):
    # how much of a tile is used: whole rows or columns of a thread's sums
    return min(TILE, -(-count // TALL) * TALL)


@gpu_inline
def _across(array, at, stride, count, depth, tile):
    # tile[k, i] = array[at + i stride + k] for k < depth; zero for i >= count
    k, i = cuda.threadIdx.x & (DEPTH - 1), (cuda.threadIdx.x // DEPTH) & 7
    end = _filled(count)
    at += i * stride + k
    while i < end and k < depth:
        tile[k, i] = array[at] if i < count else np.float32(0)
        i += THREADS // DEPTH
        at += THREADS // DEPTH * stride


@gpu_inline
def _decayed(array, at, stride, count, depth, decays, tile):
    # as `_across`, row i times decays[i]
    k, i = cuda.threadIdx.x & (DEPTH - 1), (cuda.threadIdx.x // DEPTH) & 7
    end = _filled(count)
    at += i * stride + k
    while i < end and k < depth:
        tile[k, i] = array[at] * decays[i] if i < count else np.float32(0)
        i += THREADS // DEPTH
        at += THREADS // DEPTH * stride


@gpu_inline
def _along(array, at, stride, count, depth, tile):
    # tile[k, i] = array[at + k stride + i] for k < depth; zero for i >= count
    i, k = cuda.threadIdx.x & (TILE - 1), (cuda.threadIdx.x // TILE) & 1
    if i < _filled(count):
        at += k * stride + i
        while k < depth:
            tile[k, i] = array[at] if i < count else np.float32(0)
            k += THREADS // TILE
            at += THREADS // TILE * stride


@gpu_inline
def _multiply(left, right, rows, columns, depth, sums):
    # sums[i, j] += left[:depth, row + i] . right[:depth, column + j]
    row, column = _place()
    if row < rows and column < columns:
        k = 0
        while k < depth:
            for i in range(TALL):
                v = left[k, row + i]
                for j in range(WIDE):
                    sums[i, j] += v * right[k, column + j]
            k += 1


@gpu_inline
def _clear(sums):
    for i in range(TALL):
        for j in range(WIDE):
            sums[i, j] = np.float32(0)


@gpu_inline
def _steps(delta, at, stride, depth, A, steps, exponents):
    # of `depth` tokens: how far each goes, and the exponent of its decay
    k = cuda.threadIdx.x
    if k < depth:
        step = delta[at + k * stride]
        steps[k], exponents[k] = step, A * step


@gpu_kernel
def _ssd_chunked_scores(B, C, n, chunk, u, s, CB):
    """One block per 64 x 64 tile, u by u in a chunk, of CB (b n r k); B is b n r s.
    Threads bring 16 states at a time, and add up 8 x 4 cells each.
    Reads B 0..u, C 0..u; writes CB 0..1.
    Shared memory: 8704 bytes.
    """
    queries = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    keys = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    sums = cuda.local.array((TALL, WIDE), np.float32)
    i, j = cuda.blockIdx.x // u * TILE, cuda.blockIdx.x % u * TILE
    r = CB.shape[2]
    first, g = cuda.blockIdx.y // r * chunk, cuda.blockIdx.y % r
    image, size = cuda.blockIdx.z, min(chunk, n - first)
    # no token depends on a later one
    if i < size and j <= i:
        at = ((image * n + first) * r + g) * s
        _clear(sums)
        k = 0
        while k < s:
            depth = min(DEPTH, s - k)
            _across(C, at + i * r * s + k, r * s, size - i, depth, queries)
            _across(B, at + j * r * s + k, r * s, size - j, depth, keys)
            cuda.syncthreads()
            _multiply(queries, keys, size - i, size - j, depth, sums)
            # no thread may load the next tile before all have used this one
            cuda.syncthreads()
            k += DEPTH
        row, column = _place()
        for a in range(TALL):
            for c in range(WIDE):
                if i + row + a < size and j + column + c < size:
                    CB[image, first + i + row + a, g, j + column + c] = sums[a, c]


@gpu_kernel
def _ssd_chunked_left(x, delta, A_log, B, n, chunk, p, r, s, q, t, decays, left):
    """One block per head, chunk m and tile, q by t, of p by s cells of left (b m h d).
    Threads walk back over the chunk, 16 tokens at a time, and add up 8 x 4 cells each.
    Reads x t, delta q*t, A_log b*m*q*t, B h//r*q; writes decays 1, left 1.
    Shared memory: 8836 bytes.
    """
    us = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    keys = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    steps = cuda.shared.array(DEPTH, np.float32)
    exponents = cuda.shared.array(DEPTH, np.float32)
    rate = cuda.shared.array(1, np.float32)
    sums = cuda.local.array((TALL, WIDE), np.float32)
    h = left.shape[2]
    head = cuda.blockIdx.x // (q * t)
    i, j = cuda.blockIdx.x // t % q * TILE, cuda.blockIdx.x % t * TILE
    m, image = cuda.blockIdx.y, cuda.blockIdx.z
    first = m * chunk
    size = min(chunk, n - first)
    token = image * n + first
    x_at, B_at = (token * h + head) * p + i, (token * r + head // (h // r)) * s + j
    channel, odd = cuda.threadIdx.x & (TILE - 1), (cuda.threadIdx.x // TILE) & 1
    if cuda.threadIdx.x == 0:
        rate[0] = -math.exp(widen(A_log[head]))
    cuda.syncthreads()
    _clear(sums)
    exponent = np.float32(0)
    k = (size - 1) // DEPTH * DEPTH
    while k >= 0:
        depth, at = min(DEPTH, size - k), (token + k) * h + head
        _steps(delta, at, h, depth, rate[0], steps, exponents)
        _along(B, B_at + k * r * s, r * s, s - j, depth, keys)
        cuda.syncthreads()
        # the input of a token has decayed by all steps after it
        e = depth - 1
        while e >= 0:
            if e & 1 == odd and channel < _filled(p - i):
                u = np.float32(0)
                if i + channel < p:
                    u = x[x_at + (k + e) * h * p + channel]
                us[e, channel] = u * (math.exp(exponent) * steps[e])
            exponent += exponents[e]
            e -= 1
        cuda.syncthreads()
        _multiply(us, keys, p - i, s - j, depth, sums)
        cuda.syncthreads()
        k -= DEPTH
    row, column = _place()
    for a in range(TALL):
        for c in range(WIDE):
            if i + row + a < p and j + column + c < s:
                left[image, m, head, (i + row + a) * s + j + column + c] = sums[a, c]
    if cuda.threadIdx.x == 0 and i == 0 and j == 0:
        decays[image, m, head] = math.exp(exponent)


@gpu_kernel
def _ssd_chunked_states(decays, left, state):
    """One block per 128 cells of state (b h d), of which left (b m h d) has m.
    A thread walks over the chunks, and puts the state before each in its place.
    Reads decays d, left 1, state 1; writes left 1, state 1.
    Shared memory: none.
    """
    b, h, d = state.shape
    cell = cuda.grid(1)
    if cell < b * h * d:
        image, head, c = cell // (h * d), cell // d % h, cell % d
        value = state[image, head, c]
        m = 0
        while m < left.shape[1]:
            new = left[image, m, head, c]
            left[image, m, head, c] = value
            value = cuda.fma(decays[image, m, head], value, new)
            m += 1
        state[image, head, c] = value


@gpu_kernel
def _ssd_chunked_outputs(
    x, delta, A_log, C, D, CB, S, n, chunk, p, s, f, q, t, u, y
):  # fmt: skip
    """One block per head and 64 x 64 tile, t by q, u of t a chunk, of y; CB (b n r k).
    Threads walk back from the tile, 16 tokens at a time, and add up 8 x 4 cells each.
    Reads x 1..u, delta q..q*u, A_log b*q*t, C f, D b*q*t, CB 0..f, S 1..u; writes y 1.
    Shared memory: 9096 bytes.
    """
    left = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    right = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    steps = cuda.shared.array(DEPTH, np.float32)
    exponents = cuda.shared.array(DEPTH, np.float32)
    decays = cuda.shared.array(TILE, np.float32)
    both = cuda.shared.array(2, np.float32)
    sums = cuda.local.array((TALL, WIDE), np.float32)
    h, r = cuda.gridDim.x // q, CB.shape[2]
    # f blocks side by side work for a group
    g, head, j = cuda.blockIdx.x // f, cuda.blockIdx.x // q, cuda.blockIdx.x % q * TILE
    m, i, image = cuda.blockIdx.y // u, cuda.blockIdx.y % u * TILE, cuda.blockIdx.z
    first = m * chunk
    size = min(chunk, n - first)
    token = image * n + first
    x_at, C_at = (token * h + head) * p + j, ((token + i) * r + g) * s
    S_at = (((image * (t // u) + m) * h + head) * p + j) * s
    # two threads take a row, each of them eight of 16 columns
    mine, half = (cuda.threadIdx.x // 2) & (TILE - 1), cuda.threadIdx.x & 1
    own = i + mine
    if cuda.threadIdx.x == 0:
        both[0], both[1] = -math.exp(widen(A_log[head])), widen(D[head])
    cuda.syncthreads()
    _clear(sums)
    exponent = np.float32(0)
    k = (min(i + TILE, size) - 1) // DEPTH * DEPTH
    while k >= 0 and i < size:
        depth, at = min(DEPTH, size - k), (token + k) * h + head
        _steps(delta, at, h, depth, both[0], steps, exponents)
        _along(x, x_at + k * h * p, h * p, p - j, depth, right)
        cuda.syncthreads()
        # the input of an earlier token has decayed by all steps since
        e = depth - 1
        while e >= 0 and mine < _filled(size - i):
            if e // TALL == half:
                v = np.float32(0)
                if k + e <= own and own < size:
                    v = math.exp(exponent) * steps[e]
                    v *= CB[image, first + own, g, k + e]
                if k + e == own:
                    v += both[1]
                left[e, mine] = v
            if k + e <= own:
                exponent += exponents[e]
            e -= 1
        cuda.syncthreads()
        _multiply(left, right, size - i, p - j, depth, sums)
        # no thread may load the next tile before all have used this one
        cuda.syncthreads()
        k -= DEPTH
    # and the state by all steps since the chunk began
    if half == 0:
        decays[mine] = math.exp(exponent)
    cuda.syncthreads()
    k = 0
    while k < s and i < size:
        depth = min(DEPTH, s - k)
        _decayed(C, C_at + k, r * s, size - i, depth, decays, left)
        _across(S, S_at + k, s, p - j, depth, right)
        cuda.syncthreads()
        _multiply(left, right, size - i, p - j, depth, sums)
        cuda.syncthreads()
        k += DEPTH
    row, column = _place()
    for a in range(TALL):
        for c in range(WIDE):
            if i + row + a < size and j + column + c < p:
                y[x_at + (i + row + a) * h * p + column + c] = sums[a, c]
