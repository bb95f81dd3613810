"""y = x W^T on tensor cores: bfloat16 weights, float32 activations, float32 accuracy.

Tensor cores multiply matrices of bfloat16 many times faster than a GPU multiplies
float32, and add up in float32. The weights are bfloat16 already. An activation is a
float32, a sign and 24 bits of which the first is never stored; a bfloat16 is the upper
half of one, with 8 of the 24. So a float32 is three of them, one after another:

    high   = the upper half of x          the first 8 bits
    middle = the upper half of x - high   the next 8
    low    = x - high - middle            the last 8

Each subtraction is exact: it takes away leading bits, and what is left has fewer. So
x w = low w + middle w + high w, exactly; and 8 bits times 8 are 16, which a float32
holds. So three products lose nothing but time. By NVIDIA's peak rates they are still
faster than one in float32; that has not been measured here.

What rounds is the sum. Tensor cores do not round a sum to the nearest float32 but drop
the bits that do not fit, and over 1024 terms that would pile up in one direction. So no
sum stays in them for long: for 16 columns, starting from zero, they add the low parts,
then the middle ones, then the high ones, of which only the last can drop a bit that
matters. Those sums are added up in float32 as usual.

Two matrices of 16 columns meet in `mma_bf16`, 16 rows of w and 8 of x. A lane takes
four columns of x; which four is all the same, as long as w's are the same ones, for a
sum does not ask for an order. So lane t of 4 takes columns 4t..4t+3: of x straight from
memory, 16 bytes in one load, since no other warp wants these rows; of w, which all four
warps want, through shared memory, where words are laid out as lanes ask for them.

A block takes a tile of 64 x 64 outputs, 64 columns at a time; each of its warps takes
64 features by 16 rows. For 16 columns a lane loads 16 words of w from shared memory and
2 x 16 bytes of x, and a warp issues 4 x 2 x 3 = 24 products.

Sources: NVIDIA PTX ISA, mma.m16n8k16; Fasi, Higham, Mikaitis, Pranesh, "Numerical
behavior of NVIDIA tensor cores", 2021; Henry, Tang, Heinecke, "Leveraging the bfloat16
artificial intelligence datatype for higher-precision computations", 2019.
"""

from __future__ import annotations

import numpy as np

from minigen.ops.intrinsics import load16, mma_bf16
from minigen.ops.linear.ending import finish
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128
LANES = 32

# of a block: its sides and the columns it takes at a time; of a warp: its rows
TILE = 64
DEPTH = 64
TALL = 16

# words of a row in shared memory: 32 of two bfloat16, and 4 more, so that the 8 rows
# and 4 words that a warp asks for at once lie in 32 memory banks
PITCH = 36

UPPER = -0x10000
"""The mask of the upper half of 32 bits."""


@gpu_inline
def _split(value):
    """Return the bits of three float32 that add up to one, each with 16 zeros below."""
    high = np.int32(cuda.libdevice.float_as_int(value) & UPPER)
    value -= cuda.libdevice.int_as_float(high)
    middle = np.int32(cuda.libdevice.float_as_int(value) & UPPER)
    value -= cuda.libdevice.int_as_float(middle)
    return high, middle, cuda.libdevice.float_as_int(value)


@gpu_inline
def _pair(first, second):
    """Return two bfloat16, each the upper half of 32 bits, as one word."""
    return np.uint32(first >> 16 & 0xFFFF | second)


@gpu_inline
def _word(first, second):
    """Return two float32 that are bfloat16 as one word."""
    return _pair(
        cuda.libdevice.float_as_int(first), cuda.libdevice.float_as_int(second)
    )


@gpu_inline
def _fetch_w(w, d, f, thread, start, words):
    """Read a thread's share of 64 columns of the tile's 64 rows of w, as (4 4) words.

    8 threads read one row's columns, 16 bytes each. Zero beyond the edges of w.
    """
    k = start + 8 * (thread % 8)
    for s in range(4):
        j = TILE * cuda.blockIdx.y + thread // 8 + 16 * s
        for q in range(4):
            words[s, q] = np.uint32(0)
        if k < d and j < f:
            v = load16(w, j * d + k)
            words[s, 0] = _word(v[0], v[1])
            words[s, 1] = _word(v[2], v[3])
            words[s, 2] = _word(v[4], v[5])
            words[s, 3] = _word(v[6], v[7])


@gpu_inline
def _keep_w(words, thread, tile):
    """Put what `_fetch_w` read into shared memory, as `_product` asks for it.

    Of every 16 columns, 8 words, lane t asks for words 2t and 2t + 1, at t and t + 4.
    """
    chunk = thread % 8
    at = chunk // 2 * 8 + chunk % 2 * 2
    for s in range(4):
        row = thread // 8 + 16 * s
        tile[row, at] = words[s, 0]
        tile[row, at + 4] = words[s, 1]
        tile[row, at + 1] = words[s, 2]
        tile[row, at + 5] = words[s, 3]


@gpu_inline
def _fetch_x(x, d, n, thread, start, values):
    """Read a lane's share of 64 columns of the warp's 16 rows of x, as (4 2 4) float32.

    Four times 16 columns, twice 8 rows, four neighbours. Zero beyond the edges of x.
    """
    lane, zero = thread % LANES, np.float32(0)
    first = TILE * cuda.blockIdx.x + TALL * (thread // LANES) + lane // 4
    for s in range(4):
        k = start + 16 * s + 4 * (lane % 4)
        for c in range(2):
            v = zero, zero, zero, zero
            if k < d and first + 8 * c < n:
                v = load16(x, (first + 8 * c) * d + k)
            values[s, c, 0], values[s, c, 1], values[s, c, 2], values[s, c, 3] = v


@gpu_inline
def _pieces(values, s, c, low, middle, high):
    """Split four neighbours of x into two words of low, middle and high parts each."""
    h0, m0, l0 = _split(values[s, c, 0])
    h1, m1, l1 = _split(values[s, c, 1])
    h2, m2, l2 = _split(values[s, c, 2])
    h3, m3, l3 = _split(values[s, c, 3])
    low[c, 0], low[c, 1] = _pair(l0, l1), _pair(l2, l3)
    middle[c, 0], middle[c, 1] = _pair(m0, m1), _pair(m2, m3)
    high[c, 0], high[c, 1] = _pair(h0, h1), _pair(h2, h3)


@gpu_inline
def _product(tile, values, s, lane, sums):
    """Add to `sums` (4 2 4) what 16 columns of the warp's 64 features and 16 rows make.

    All 32 lanes together. The layout of `sums` is that of `mma_bf16`: 4 times 16
    features, twice 8 rows, and a lane's four of these 16 x 8 outputs.
    """
    low = cuda.local.array((2, 2), np.uint32)
    middle = cuda.local.array((2, 2), np.uint32)
    high = cuda.local.array((2, 2), np.uint32)
    zero = np.float32(0)
    for c in range(2):
        _pieces(values, s, c, low, middle, high)
    at = 8 * s + lane % 4
    for a in range(4):
        j = 16 * a + lane // 4
        features = tile[j, at], tile[j + 8, at], tile[j, at + 4], tile[j + 8, at + 4]
        for c in range(2):
            v = zero, zero, zero, zero
            # the smallest first: only the last sum is as large as what it may round
            v = mma_bf16(features, (low[c, 0], low[c, 1]), v)
            v = mma_bf16(features, (middle[c, 0], middle[c, 1]), v)
            v = mma_bf16(features, (high[c, 0], high[c, 1]), v)
            sums[a, c, 0] += v[0]
            sums[a, c, 1] += v[1]
            sums[a, c, 2] += v[2]
            sums[a, c, 3] += v[3]


@gpu_inline
def _multiply(x, w, d, y, sums):
    """Fill `sums` (4 2 4), the warp's 64 features by 16 rows, as of `_product`."""
    tile = cuda.shared.array((TILE, PITCH), np.uint32)
    words = cuda.local.array((4, 4), np.uint32)
    ahead = cuda.local.array((4, 2, 4), np.float32)
    values = cuda.local.array((4, 2, 4), np.float32)
    # the mask tells the compiler that no index is negative, which saves a third of the
    # registers
    thread = cuda.threadIdx.x & (THREADS - 1)
    for a in range(4):
        for c in range(2):
            for e in range(4):
                sums[a, c, e] = np.float32(0)
    _fetch_w(w, d, y.shape[1], thread, 0, words)
    _fetch_x(x, d, y.shape[0], thread, 0, ahead)
    for start in range(0, d, DEPTH):
        _keep_w(words, thread, tile)
        for s in range(4):
            for c in range(2):
                for e in range(4):
                    values[s, c, e] = ahead[s, c, e]
        cuda.syncthreads()
        # they arrive while these are multiplied
        _fetch_w(w, d, y.shape[1], thread, start + DEPTH, words)
        _fetch_x(x, d, y.shape[0], thread, start + DEPTH, ahead)
        # a warp all of whose rows lie beyond the last has nothing to multiply
        if TILE * cuda.blockIdx.x + TALL * (thread // LANES) < y.shape[0]:
            for s in range(4):
                if start + 16 * s < d:
                    _product(tile, values, s, thread % LANES, sums)
        # nobody may put the next columns there before all have used these
        cuda.syncthreads()


@gpu_inline
def _row(c, e):
    """Return the row of y of a thread's sum (a, c, e)."""
    thread = cuda.threadIdx.x
    warp, pair = thread // LANES, thread % 4
    return TILE * cuda.blockIdx.x + TALL * warp + 8 * c + 2 * pair + e % 2


@gpu_inline
def _feature(a, e):
    """Return the feature of y of a thread's sum (a, c, e)."""
    group = cuda.threadIdx.x % LANES // 4
    return TILE * cuda.blockIdx.y + 16 * a + group + e // 2 * 8


@gpu_kernel
def _linear_tensor(x, w, d, bias, biased, residual, added, y):
    """One block per 64 x 64 tile of y (n f), rows by features; x and w flat, rows of d.
    Warps multiply 16 rows of x, in three parts, by 64 of w, from shared memory.
    Reads x (f+63)//64, w (n+63)//64, bias n*biased, residual added; writes y 1.
    Shared memory: 9216 bytes.
    """
    sums = cuda.local.array((4, 2, 4), np.float32)
    _multiply(x, w, d, y, sums)
    for a in range(4):
        for c in range(2):
            for e in range(4):
                i, j = _row(c, e), _feature(a, e)
                if i < y.shape[0] and j < y.shape[1]:
                    y[i, j] = finish(sums[a, c, e], i, j, bias, biased, residual, added)
