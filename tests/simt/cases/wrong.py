"""Wrong kernels, each with one fault."""

import math

import numpy as np
from numba import cuda, int32

from minigen.ops.intrinsics import widen


# 1 missing sync
@cuda.jit
def w01_missing_sync(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    st = 64
    while st > 0:
        if t < st:
            s[t] += s[t + st]
        st //= 2
    cuda.syncthreads()
    r = np.float32(1) / math.sqrt(s[0] / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 2 sync in a divergent branch
@cuda.jit
def w02_divergent_sync(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    if t < x.shape[1]:
        for k in range(t, x.shape[1], 128):
            total += x[i, k] * x[i, k]
        s[t] = total
        cuda.syncthreads()
    squares = np.float32(0)
    for o in range(min(128, x.shape[1])):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 3 reads beyond the end (no guard)
@cuda.jit
def w03_no_guard(gate, up, y):
    i = cuda.grid(1)
    g = gate[i]
    y[i] = g / (np.float32(1) + math.exp(-g)) * up[i]


# 4 wrong stride: half of the row is skipped
@cuda.jit
def w04_wrong_stride(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 2 * cuda.blockDim.x):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], cuda.blockDim.x):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 5 off by one at the ragged end
@cuda.jit
def w05_ragged_end(gate, up, y):
    i = cuda.grid(1)
    if i < y.size - 1:
        g = gate[i]
        y[i] = g / (np.float32(1) + math.exp(-g)) * up[i]


# 6 blockDim assumed (256 in a launch of 128)
@cuda.jit
def w06_blockdim(x, w, eps, y):
    s = cuda.shared.array(256, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 256):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(256):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 256):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 7 float64 literals
@cuda.jit
def w07_float64(gate, up, y):
    i = cuda.grid(1)
    if i < y.size:
        g = gate[i]
        y[i] = g * (1.0 / (1.0 + math.exp(-g))) * up[i]


# 8 race between blocks: all blocks write the last cell
@cuda.jit
def w08_between_blocks(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[0, k] = 0
        y[i, k] = widen(w[k]) * x[i, k] * r


# 9 missing atomics
@cuda.jit
def w09_no_atomic(x, w, eps, y):
    s = cuda.shared.array(1, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    if t == 0:
        s[0] = 0
    cuda.syncthreads()
    for k in range(t, x.shape[1], 128):
        s[0] += x[i, k] * x[i, k]
    cuda.syncthreads()
    r = np.float32(1) / math.sqrt(s[0] / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 10 wrong dtype: the sum is kept in int32
@cuda.jit
def w10_wrong_dtype(x, w, eps, y):
    s = cuda.shared.array(128, int32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 11 uninitialised shared memory
@cuda.jit
def w11_uninitialised(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    for k in range(t, x.shape[1], 128):
        s[t] += x[i, k] * x[i, k]
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 12 wrong identity of a maximum: starts from 0
@cuda.jit
def w12_identity(logits, targets, losses):
    lane = cuda.threadIdx.x % 32
    i = cuda.blockIdx.x * 4 + cuda.threadIdx.x // 32
    if i < logits.shape[0]:
        top = np.float32(0)
        for k in range(lane, logits.shape[1], 32):
            top = max(top, logits[i, k])
        for d in (16, 8, 4, 2, 1):
            top = max(top, cuda.shfl_xor_sync(0xFFFFFFFF, top, d))
        total = np.float32(0)
        for k in range(lane, logits.shape[1], 32):
            total += math.exp(logits[i, k] - top)
        for d in (16, 8, 4, 2, 1):
            total += cuda.shfl_xor_sync(0xFFFFFFFF, total, d)
        if lane == 0:
            losses[i] = top - logits[i, targets[i]] + math.log(total)


# 13 shared memory too large
@cuda.jit
def w13_shared_too_large(x, w, eps, y):
    s = cuda.shared.array((128, 128), np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t, 0] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o, 0]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 14 warp-synchronous without syncwarp
@cuda.jit
def w14_warp_synchronous(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    if t < 64:
        s[t] += s[t + 64]
    cuda.syncthreads()
    if t < 32:
        s[t] += s[t + 32]
        if t < 16:
            s[t] += s[t + 16]
        if t < 8:
            s[t] += s[t + 8]
        if t < 4:
            s[t] += s[t + 4]
        if t < 2:
            s[t] += s[t + 2]
        if t < 1:
            s[t] += s[t + 1]
    cuda.syncthreads()
    r = np.float32(1) / math.sqrt(s[0] / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 15 an index kept in int32, where it overflows
@cuda.jit
def w15_int32_index(gate, up, y):
    c = cuda.local.array(1, int32)
    i = cuda.grid(1)
    c[0] = i * 16777216
    j = c[0] // 16777216
    if 0 <= j < y.size:
        g = gate[j]
        y[j] = g / (np.float32(1) + math.exp(-g)) * up[j]


# 16 read after write of another block without a fence / grid sync
@cuda.jit
def w16_read_other_block(x, w, eps, y):
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    if t == 0:
        s = np.float32(0)
        for k in range(x.shape[1]):
            s += x[i, k] * x[i, k]
        y[i, 0] = s
    cuda.syncthreads()
    squares = y[(i + 1) % y.shape[0], 0] if y.shape[0] > 1 else y[i, 0]
    cuda.syncthreads()
    r = np.float32(1) / math.sqrt(
        y[i, 0] / np.float32(x.shape[1]) + eps
    ) + squares * np.float32(0)
    cuda.syncthreads()
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 17 double write: two threads a cell
@cuda.jit
def w17_double_write(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t // 2, x.shape[1], 64):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 18 in place: writes into its input
@cuda.jit
def w18_in_place(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / math.sqrt(squares / np.float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        x[i, k] *= r
        y[i, k] = widen(w[k]) * x[i, k]


# 19 wrong launch: written for a grid of one block, (row, column) swapped
@cuda.jit
def w19_swapped(x, w, y):
    j, i = cuda.blockIdx.x, 128 * cuda.blockIdx.y + cuda.threadIdx.x
    if i < x.shape[0] and j < w.shape[0]:
        total = np.float32(0)
        for k in range(x.shape[1]):
            total += x[i, k] * widen(w[j, k])
        y[i, j] = total


# 20 eps outside of the root
@cuda.jit
def w20_formula(x, w, eps, y):
    s = cuda.shared.array(128, np.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    total = np.float32(0)
    for k in range(t, x.shape[1], 128):
        total += x[i, k] * x[i, k]
    s[t] = total
    cuda.syncthreads()
    squares = np.float32(0)
    for o in range(128):
        squares += s[o]
    r = np.float32(1) / (math.sqrt(squares / np.float32(x.shape[1])) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 21 a loop that never steps
@cuda.jit
def w21_never_ends(x, w, eps, y):
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    k = t
    while k < x.shape[1]:
        y[i, k] = x[i, k]


# 22 exp overflow: softmax without the maximum
@cuda.jit
def w22_no_max(logits, targets, losses):
    lane = cuda.threadIdx.x % 32
    i = cuda.blockIdx.x * 4 + cuda.threadIdx.x // 32
    if i < logits.shape[0]:
        total = np.float32(0)
        for k in range(lane, logits.shape[1], 32):
            total += math.exp(logits[i, k])
        for d in (16, 8, 4, 2, 1):
            total += cuda.shfl_xor_sync(0xFFFFFFFF, total, d)
        if lane == 0:
            losses[i] = math.log(total) - logits[i, targets[i]]


# 23 xor-shuffle with a missing round (16)
@cuda.jit
def w23_missing_round(logits, targets, losses):
    lane = cuda.threadIdx.x % 32
    i = cuda.blockIdx.x * 4 + cuda.threadIdx.x // 32
    if i < logits.shape[0]:
        top = np.float32(-np.inf)
        for k in range(lane, logits.shape[1], 32):
            top = max(top, logits[i, k])
        for d in (16, 8, 4, 2, 1):
            top = max(top, cuda.shfl_xor_sync(0xFFFFFFFF, top, d))
        total = np.float32(0)
        for k in range(lane, logits.shape[1], 32):
            total += math.exp(logits[i, k] - top)
        for d in (8, 4, 2, 1):
            total += cuda.shfl_xor_sync(0xFFFFFFFF, total, d)
        if lane == 0:
            losses[i] = top - logits[i, targets[i]] + math.log(total)


# 24 uint8 / float16 truncation: the result is passed through float16
@cuda.jit
def w24_half(gate, up, y):
    i = cuda.grid(1)
    if i < y.size:
        g = gate[i]
        y[i] = np.float16(g / (np.float32(1) + math.exp(-g))) * up[i]
