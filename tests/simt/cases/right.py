"""Right kernels, as strangers write them: none may be refused."""

import math

import numba
from numba import cuda, float32

from minigen.ops.intrinsics import widen


# a thread a row
@cuda.jit
def r01_thread_a_row(x, w, eps, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        s = float32(0)
        for k in range(x.shape[1]):
            s += x[i, k] * x[i, k]
        r = float32(1) / math.sqrt(s / float32(x.shape[1]) + eps)
        for k in range(x.shape[1]):
            y[i, k] = widen(w[k]) * x[i, k] * r


# a warp a row, shuffles down and a broadcast
@cuda.jit
def r02_warp_a_row(x, w, eps, y):
    lane = cuda.laneid
    i = cuda.grid(1) // 32
    if i < x.shape[0]:
        s = float32(0)
        for k in range(lane, x.shape[1], 32):
            s += x[i, k] ** 2
        o = 16
        while o > 0:
            s += cuda.shfl_down_sync(0xFFFFFFFF, s, o)
            o >>= 1
        s = cuda.shfl_sync(0xFFFFFFFF, s, 0)
        r = float32(1) / math.sqrt(s / float32(x.shape[1]) + eps)
        for k in range(lane, x.shape[1], 32):
            y[i, k] = widen(w[k]) * x[i, k] * r


# grid-stride loop
@cuda.jit
def r03_grid_stride(gate, up, y):
    for i in range(cuda.grid(1), y.size, cuda.gridsize(1)):
        g = gate[i]
        y[i] = g / (float32(1) + math.exp(-g)) * up[i]


# tree reduction in shared memory, any block
@cuda.jit
def r04_tree(x, w, eps, y):
    s = cuda.shared.array(1024, float32)
    i, t, n = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    v = float32(0)
    for k in range(t, x.shape[1], n):
        v += x[i, k] * x[i, k]
    s[t] = v
    cuda.syncthreads()
    st = n // 2
    while st > 0:
        if t < st:
            s[t] += s[t + st]
        cuda.syncthreads()
        st //= 2
    r = float32(1) / math.sqrt(s[0] / float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], n):
        y[i, k] = widen(w[k]) * x[i, k] * r


# atomics in shared memory
@cuda.jit
def r05_atomics(x, w, eps, y):
    s = cuda.shared.array(1, float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    if t == 0:
        s[0] = 0
    cuda.syncthreads()
    v = float32(0)
    for k in range(t, x.shape[1], cuda.blockDim.x):
        v += x[i, k] * x[i, k]
    cuda.atomic.add(s, 0, v)
    cuda.syncthreads()
    r = float32(1) / math.sqrt(s[0] / float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], cuda.blockDim.x):
        y[i, k] = widen(w[k]) * x[i, k] * r


# 2-D block (16 x 16): meant for a launch with 2-D blocks
@cuda.jit
def r06_block_2d(x, w, y):
    i = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    for j in range(
        cuda.threadIdx.x + cuda.blockIdx.y * cuda.blockDim.x,
        w.shape[0],
        cuda.blockDim.x * cuda.gridDim.y,
    ):
        if i < x.shape[0]:
            total = float32(0)
            for k in range(x.shape[1]):
                total += x[i, k] * widen(w[j, k])
            y[i, j] = total


# dynamic shared memory
@cuda.jit
def r07_dynamic(x, w, eps, y):
    s = cuda.shared.array(0, float32)
    i, t, n = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x
    v = float32(0)
    for k in range(t, x.shape[1], n):
        v += x[i, k] * x[i, k]
    s[t] = v
    cuda.syncthreads()
    q = float32(0)
    for o in range(n):
        q += s[o]
    r = float32(1) / math.sqrt(q / float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], n):
        y[i, k] = widen(w[k]) * x[i, k] * r


# tiles in shared memory, a linear layer
@cuda.jit
def r08_tiles(x, w, y):
    sx = cuda.shared.array(32, float32)
    i, j = cuda.blockIdx.x, 128 * cuda.blockIdx.y + cuda.threadIdx.x
    t = cuda.threadIdx.x
    total = float32(0)
    for k0 in range(0, x.shape[1], 32):
        if t < 32 and k0 + t < x.shape[1]:
            sx[t] = x[i, k0 + t]
        cuda.syncthreads()
        if j < y.shape[1]:
            for k in range(min(32, x.shape[1] - k0)):
                total += sx[k] * widen(w[j, k0 + k])
        cuda.syncthreads()
    if j < y.shape[1]:
        y[i, j] = total


# device functions, while loops, early return
@cuda.jit(device=True)
def sigmoid(v):
    if v >= 0:
        return float32(1) / (float32(1) + math.exp(-v))
    e = math.exp(v)
    return e / (float32(1) + e)


@cuda.jit
def r09_device(gate, up, y):
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i >= y.size:
        return
    y[i] = gate[i] * sigmoid(gate[i]) * up[i]


# three passes of softmax, cross entropy, a thread a row
@cuda.jit
def r10_cross(logits, targets, losses):
    i = cuda.grid(1)
    if i >= losses.size:
        return
    n = logits.shape[1]
    top = logits[i, 0]
    for k in range(1, n):
        top = max(top, logits[i, k])
    total = float32(0)
    for k in range(n):
        total += math.exp(logits[i, k] - top)
    losses[i] = top + math.log(total) - logits[i, targets[i]]


# the plain float32 kernel of a stranger: no widen
@cuda.jit
def r11_no_widen(x, w, eps, y):
    s = cuda.shared.array(128, numba.float32)
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    v = float32(0)
    for k in range(t, x.shape[1], 128):
        v += x[i, k] * x[i, k]
    s[t] = v
    cuda.syncthreads()
    q = float32(0)
    for o in range(128):
        q += s[o]
    r = float32(1) / math.sqrt(q / float32(x.shape[1]) + eps)
    for k in range(t, x.shape[1], 128):
        y[i, k] = w[k] * x[i, k] * r


# double accumulation on purpose
@cuda.jit
def r12_double(x, w, eps, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        s = 0.0
        for k in range(x.shape[1]):
            s += float(x[i, k]) * float(x[i, k])
        r = 1.0 / math.sqrt(s / x.shape[1] + eps)
        for k in range(x.shape[1]):
            y[i, k] = float32(float(widen(w[k])) * float(x[i, k]) * r)


# last column with a negative index, row handled by slices
@cuda.jit
def r13_row_view(x, w, eps, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        row = x[i]
        s = float32(0)
        for v in row:
            s += v * v
        r = float32(1) / math.sqrt(s / float32(len(row)) + eps)
        for k in range(len(row)):
            y[i, k] = widen(w[k]) * row[k] * r


# with a docstring of one's own that mentions what it reads
@cuda.jit
def r14_docstring(gate, up, y):
    """SwiGLU.

    Reads gate and up, writes y. Shared memory: not used.
    """
    i = cuda.grid(1)
    if i < y.size:
        g = gate[i]
        y[i] = g / (float32(1) + math.exp(-g)) * up[i]


# float4-like: a thread takes four cells
@cuda.jit
def r15_four_cells(gate, up, y):
    t = cuda.grid(1) * 4
    for c in range(4):
        i = t + c
        if i < y.size:
            g = gate[i]
            y[i] = g / (float32(1) + math.exp(-g)) * up[i]


# online variance by Welford
@cuda.jit
def r16_welford(x, w, bias, eps, y):
    i = cuda.grid(1)
    if i < x.shape[0]:
        m = float32(0)
        q = float32(0)
        for k in range(x.shape[1]):
            d = x[i, k] - m
            m += d / float32(k + 1)
            q += d * (x[i, k] - m)
        r = float32(1) / math.sqrt(q / float32(x.shape[1]) + eps)
        for k in range(x.shape[1]):
            y[i, k] = widen(w[k]) * ((x[i, k] - m) * r) + widen(bias[k])
