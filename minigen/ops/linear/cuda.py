"""y = x W^T + bias on a GPU: a ladder of kernels, each reading less than the last.

Every output takes d multiply-adds of 2 d numbers. `_linear_naive` does it as it is
said, one thread for one output: two numbers from memory for each multiply-add, and a
GPU has time for dozens of them while one number comes from memory.

`_linear_skinny` is for few rows, where nearly all there is to read is w. A block takes
8 rows of x and 4 of w; it splits d over its 128 threads, so that a w of 1024 x 1024 is
256 blocks, and all of it is on its way at once. A thread keeps 8 x 4 sums in registers:
16 bytes of 4 rows of w, 8 numbers each in bfloat16, meet 8 rows of x in 8 x 4 x 8 = 256
multiply-adds. That is 4 for a byte of w; the 4 bytes of x that go with it come from the
first cache, where 8 rows of 1024 take 32 KB. Further 8 rows are further blocks, side by
side with the first, which find w in the second cache.

`_linear_tiled` is for many rows. A block takes a tile of 64 x 64 outputs: it brings 16
columns of 64 rows of x and of w into shared memory, where each number serves 64 times,
a number from memory for 32 multiply-adds, and goes on to the next 16, which were on
their way meanwhile. A thread keeps 16 x 2 sums. Per column that is 32 multiply-adds for
18 numbers from shared memory; the 16 of x are the same for a whole warp, and lie side
by side: they come in 4 loads of 16 bytes, so there are 6 loads, which take 24 cycles
for 4 warps where the sums take 32.

`_linear_tensor` (cuda_tensor.py) is for many rows and weights in bfloat16.

Long sums are made of short ones, so that rounding does not pile up: those of the 128
threads, of 16 columns, or of one step of the tensor cores. Their order depends on d
alone. Which kernel is taken depends on the rows of one image, never on the batch: so an
image has the same bits in any batch.

All of them end in `finish`, which adds the bias and the residual, if there are any.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import ALL
from minigen.ops.intrinsics import load16, slct, widen
from minigen.ops.linear.cuda_tensor import _linear_tensor
from minigen.ops.linear.ending import finish
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128
LANES = 32
WARPS = THREADS // LANES

# of a skinny block: as many outputs as a warp has lanes
ROWS = 8
FEATURES = 4

# of a tile: its sides, and the columns in shared memory; of a thread: the rows it adds
# up, and of how many its share of the columns is
TILE = 64
DEPTH = 16
TALL = 16
SHARE = TILE * DEPTH // THREADS

# a multiple of 4, so that 16 rows side by side begin at 16 bytes, and none of 32, so
# that threads that fill a column meet in pairs at a memory bank, and not all 16
PITCH = 68

SKINNY_ROWS = 64
"""Up to as many rows of an image the skinny kernel is taken, with a read of w for 8.

A tile would leave most of a GPU idle: 64 rows and 1024 features make 16 of them.
"""


@gpu_kernel
def _linear_naive(x, w, bias, biased, residual, added, y):
    """One block per row of x (n d) and 128 features of y (n f).
    Each thread adds up one output; its neighbour reads another row of w, far away.
    Reads x f, w n, bias n*biased, residual added; writes y 1.
    Shared memory: none.
    """
    i, j = cuda.blockIdx.x, THREADS * cuda.blockIdx.y + cuda.threadIdx.x
    if j < y.shape[1]:
        total = np.float32(0)
        for k in range(x.shape[1]):
            total += x[i, k] * widen(w[j, k])
        y[i, j] = finish(total, i, j, bias, biased, residual, added)


@gpu_inline
def _four_rows(x, begin, d, row, count, near, first, sums):
    """Add to `sums` what rows row..row + 3 of x and four columns of `near` make.

    x[begin] is the first row's number for near[:, 0] (4 8). Rows of x from `count` on
    are not read, and count as zero.
    """
    values = cuda.local.array((4, 4), np.float32)
    zero = np.float32(0)
    # all four loads are under way before the first number is used
    for r in range(4):
        v = zero, zero, zero, zero
        if row + r < count:
            v = load16(x, begin + (row + r) * d + first)
        values[r, 0], values[r, 1], values[r, 2], values[r, 3] = v
    for r in range(4):
        for c in range(FEATURES):
            total = sums[FEATURES * (row + r) + c]
            total += values[r, 0] * near[c, first]
            total += values[r, 1] * near[c, first + 1]
            total += values[r, 2] * near[c, first + 2]
            total += values[r, 3] * near[c, first + 3]
            sums[FEATURES * (row + r) + c] = total


@gpu_inline
def _fold(sums, half):
    """Leave in `sums` half of its 2 `half` sums, over twice as many lanes.

    A lane and the one `half` away each hand the other the half that it gives up.
    """
    # below 0 in the upper lanes: with a branch in place of slct, each of its arms would
    # get shuffles of its own, and lanes that have parted would meet in them
    side = np.int32(-(cuda.laneid & half))
    for s in range(half):
        low, high = sums[s], sums[s + half]
        give, keep = slct(high, low, side), slct(low, high, side)
        sums[s] = keep + cuda.shfl_xor_sync(ALL, give, half)


@gpu_inline
def _skinny(x, w, d, y):
    """Return, to lane l of the first warp, output (l // 4, l % 4) of the block's 8 x 4.

    x and w are flat; d is the length of their rows.
    """
    partial = cuda.shared.array((WARPS, LANES), np.float32)
    sums = cuda.local.array(LANES, np.float32)
    near = cuda.local.array((FEATURES, 8), np.float32)
    i, j = ROWS * cuda.blockIdx.x, FEATURES * cuda.blockIdx.y
    count, f = y.shape[0] - i, y.shape[1]
    for s in range(LANES):
        sums[s] = np.float32(0)
    for c in range(FEATURES):
        for e in range(8):
            near[c, e] = np.float32(0)
    size = 8 if w.itemsize == 2 else 4
    k = size * cuda.threadIdx.x
    while k < d:
        for c in range(FEATURES):
            if j + c < f:
                v = load16(w, (j + c) * d + k)
                for e in range(len(v)):
                    near[c, e] = v[e]
        begin = i * d + k
        # rows and columns are plain numbers here, so that all sums stay in registers
        _four_rows(x, begin, d, 0, count, near, 0, sums)
        if count > 4:
            _four_rows(x, begin, d, 4, count, near, 0, sums)
        if size == 8:
            _four_rows(x, begin, d, 0, count, near, 4, sums)
            if count > 4:
                _four_rows(x, begin, d, 4, count, near, 4, sums)
        k += size * THREADS
    # 32 sums of each of 32 lanes: after five rounds a lane has one sum, over all lanes,
    # for 31 shuffles instead of 32 times 5
    _fold(sums, 16)
    _fold(sums, 8)
    _fold(sums, 4)
    _fold(sums, 2)
    _fold(sums, 1)
    lane, warp = cuda.threadIdx.x % LANES, cuda.threadIdx.x // LANES
    partial[warp, lane] = sums[0]
    cuda.syncthreads()
    total = partial[0, lane]
    for other in range(1, WARPS):
        total += partial[other, lane]
    return total


@gpu_kernel
def _linear_skinny(x, w, d, bias, biased, residual, added, y):
    """One block per 8 rows and 4 features of y (n f); x and w are flat, rows of d.
    Threads stride along d, 16 bytes of w at a time, then add up 8 x 4 sums each.
    Reads x (f+3)//4, w (n+7)//8, bias n*biased, residual added; writes y 1.
    Shared memory: 512 bytes.
    """
    total = _skinny(x, w, d, y)
    i = ROWS * cuda.blockIdx.x + cuda.threadIdx.x // FEATURES
    j = FEATURES * cuda.blockIdx.y + cuda.threadIdx.x % FEATURES
    if cuda.threadIdx.x < LANES and i < y.shape[0] and j < y.shape[1]:
        y[i, j] = finish(total, i, j, bias, biased, residual, added)


@gpu_inline
def _fetch(a, first, start, values):
    """Read a thread's share of 16 columns of 64 rows of a: 8 numbers, as stored.

    16 threads read one row's columns, side by side. Zero beyond the edges of a.
    """
    row, k = first + cuda.threadIdx.x // DEPTH, start + cuda.threadIdx.x % DEPTH
    for s in range(SHARE):
        i = row + THREADS // DEPTH * s
        inside = i < a.shape[0] and k < a.shape[1]
        values[s] = a[i, k] if inside else a.dtype.type(0)


@gpu_inline
def _keep(values, tile):
    """Put what `_fetch` read into shared memory (16 columns, 64 rows), widened."""
    row, k = cuda.threadIdx.x // DEPTH, cuda.threadIdx.x % DEPTH
    for s in range(SHARE):
        tile[k, row + THREADS // DEPTH * s] = widen(values[s])


@gpu_inline
def _tiled(x, w, sums):
    """Fill `sums` (16 2): rows 16 warp.. of the block's tile, features lane, lane + 32.

    Every 16 columns are summed up by themselves first.
    """
    rows = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    features = cuda.shared.array((DEPTH, PITCH), np.float32, alignment=16)
    next_x = cuda.local.array(SHARE, x.dtype)
    next_w = cuda.local.array(SHARE, w.dtype)
    part = cuda.local.array((TALL, 2), np.float32)
    lane, warp = cuda.threadIdx.x % LANES, cuda.threadIdx.x // LANES
    i, j = TILE * cuda.blockIdx.x, TILE * cuda.blockIdx.y
    for r in range(TALL):
        sums[r, 0] = sums[r, 1] = np.float32(0)
    _fetch(x, i, 0, next_x)
    _fetch(w, j, 0, next_w)
    for start in range(0, x.shape[1], DEPTH):
        _keep(next_x, rows)
        _keep(next_w, features)
        cuda.syncthreads()
        # they arrive while these are multiplied
        _fetch(x, i, start + DEPTH, next_x)
        _fetch(w, j, start + DEPTH, next_w)
        for r in range(TALL):
            part[r, 0] = part[r, 1] = np.float32(0)
        # a warp all of whose rows lie beyond the last has nothing to add up
        if i + TALL * warp < x.shape[0]:
            for k in range(min(DEPTH, x.shape[1] - start)):
                near, far = features[k, lane], features[k, lane + LANES]
                for r in range(TALL):
                    v = rows[k, TALL * warp + r]
                    part[r, 0] += v * near
                    part[r, 1] += v * far
        for r in range(TALL):
            sums[r, 0] += part[r, 0]
            sums[r, 1] += part[r, 1]
        # nobody may put the next columns there before all have used these
        cuda.syncthreads()


@gpu_kernel
def _linear_tiled(x, w, bias, biased, residual, added, y):
    """One block per 64 x 64 tile of y (n f), rows by features; x is (n d), w (f d).
    Threads fetch 16 columns of x and w at a time, and add up 16 x 2 outputs each.
    Reads x (f+63)//64, w (n+63)//64, bias n*biased, residual added; writes y 1.
    Shared memory: 8704 bytes.
    """
    sums = cuda.local.array((TALL, 2), np.float32)
    _tiled(x, w, sums)
    for r in range(TALL):
        i = TILE * cuda.blockIdx.x + TALL * (cuda.threadIdx.x // LANES) + r
        for c in range(2):
            j = TILE * cuda.blockIdx.y + cuda.threadIdx.x % LANES + LANES * c
            if i < y.shape[0] and j < y.shape[1]:
                y[i, j] = finish(sums[r, c], i, j, bias, biased, residual, added)


_RUNGS = {
    "naive": (1, THREADS, _linear_naive),
    "skinny": (ROWS, FEATURES, _linear_skinny),
    "tiled": (TILE, TILE, _linear_tiled),
    "tensor": (TILE, TILE, _linear_tensor),
}
"""For each rung of the ladder: rows and features of a block, and its kernel."""


def linear(device, x, w, bias=None, residual=None):
    """(b ... d), (f d), (f)?, (b ... f)? -> (b ... f)

    Return y[b, n, f] = sum over d of x[b, n, d] w[f, d], plus bias and residual.

    x and residual are float32; w and bias are float32, float16, or bfloat16 as uint16;
    y is float32. `choose` says which kernel does it.
    """
    rung = choose(device, math.prod(x.shape[1:-1]), w)
    return multiply(device, rung, x, w, bias, residual)


def linear_naive(device, x, w, bias=None, residual=None):
    """(b ... d), (f d), (f)?, (b ... f)? -> (b ... f)

    Return what `linear` does, with one thread for every output: slow, to read.
    """
    return multiply(device, "naive", x, w, bias, residual)


def choose(device, rows, w) -> str:
    """Return which kernel multiplies so many rows of an image by w: a name of `_RUNGS`.

    Up to SKINNY_ROWS rows the skinny one; for more, and bfloat16, that of the tensor
    cores where the device has them. Both read 16 bytes at a time, so rows of w must be
    multiples of that; for all else there is the tiled one.
    """
    if w.shape[1] * w.dtype.itemsize % 16:
        return "tiled"
    if rows <= SKINNY_ROWS:
        return "skinny"
    return "tensor" if w.dtype == np.uint16 and device.tensor_cores else "tiled"


def multiply(device, rung, x, w, bias=None, residual=None):
    """Return what `linear` does, by the kernel of a rung: see `_RUNGS`."""
    f, d = w.shape
    y = device.empty((*x.shape[:-1], f))
    n = y.size // f
    height, width, kernel = _RUNGS[rung]
    if rung in ("naive", "tiled"):
        inputs = x.reshape((n, d)), w
    else:
        inputs = x.reshape(-1), w.reshape(-1), np.int32(d)
    # a kernel takes arrays only: in place of none, one that it does not read
    biased, added = np.int32(bias is not None), np.int32(residual is not None)
    bias = bias if biased else device.empty(1, w.dtype)
    residual = residual.reshape((n, f)) if added else device.empty((1, 1))
    ending = bias, biased, residual, added, y.reshape((n, f))
    grid = -(-n // height), -(-f // width)
    device.launch(kernel, grid, THREADS, *inputs, *ending)
    return y
