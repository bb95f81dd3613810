"""Causal convolution on a GPU: a thread a cell, and a barrier before the state moves.

A block is 32 channels, side by side in memory, of a few consecutive tokens. The windows
of neighbouring tokens overlap, so most of their reads hit the L1 cache.

The state is updated in place: no thread may write it while another one still reads it.
Only the first tokens of a sequence read it, so these are all in one block, which also
updates it: first all of its threads read, also what the new state will be (for a short
sequence a part of the old one, shifted), then they wait at a barrier, then they write.
Blocks of later tokens read x alone.
"""

from __future__ import annotations

from minigen.errors import ShapeError
from minigen.gpu.activations import silu
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

CHANNELS = 32
"""Channels of a block, which a warp reads at a time."""

TOKENS = 8
"""Tokens of a block; as many as there are inputs in a window, if that is more."""

WINDOW = 32
"""The longest window: a block has a thread for each of its inputs."""


@gpu_inline
def _as_it_is(v):
    return v


@gpu_inline
def _convolve(x, w, bias, state, finish, y):
    n, c, window = x.shape[1], x.shape[2], w.shape[1]
    i, first, row = cuda.blockIdx.z, cuda.blockIdx.x * CHANNELS, cuda.threadIdx.y
    k, t = first + cuda.threadIdx.x, cuda.blockIdx.y * cuda.blockDim.y + row
    if k < c and t < n:
        total = widen(bias[k])
        # the newest input times the last weight; before x come the newest of the state
        for j in range(window):
            at = t - (window - 1) + j
            v = x[i, at, k] if at >= 0 else state[i, window + at, k]
            total = cuda.fma(widen(w[k, j]), v, total)
        y[i, t, k] = finish(total)
    if cuda.blockIdx.y == 0:
        keeps, at = k < c and row < window, n - window + row
        if keeps:
            kept = x[i, at, k] if at >= 0 else state[i, window + at, k]
        cuda.syncthreads()
        if keeps:
            state[i, row, k] = kept


@gpu_kernel
def _causal_conv(x, w, bias, state, y):
    """One block per 32 channels of a few tokens of x (b n c); state is (b w c).
    A thread sums the window of one cell; those of the first tokens move the state on.
    Reads x 1..w+1, w b*n, bias b*n, state 0..w; writes y 1, state 1.
    Shared memory: none.
    """
    _convolve(x, w, bias, state, _as_it_is, y)


@gpu_kernel
def _causal_conv_silu(x, w, bias, state, y):
    """One block per 32 channels of a few tokens of x (b n c); state is (b w c).
    As `_causal_conv`, with v sigmoid(v) at the end.
    Reads x 1..w+1, w b*n, bias b*n, state 0..w; writes y 1, state 1.
    Shared memory: none.
    """
    _convolve(x, w, bias, state, silu, y)


def causal_conv(device, x, w, bias, state):
    """(b n c), (c w), (c), (b w c) -> (b n c), (b w c)

    A window of more than 32 inputs raises ShapeError.
    """
    return _launch(device, _causal_conv, x, w, bias, state)


def causal_conv_silu(device, x, w, bias, state):
    """(b n c), (c w), (c), (b w c) -> (b n c), (b w c)"""
    return _launch(device, _causal_conv_silu, x, w, bias, state)


def _launch(device, kernel, x, w, bias, state):
    b, n, c = x.shape
    window = w.shape[1]
    if window > WINDOW:
        raise ShapeError(f"w {w.shape} has a window of {window}, at most {WINDOW} fit")
    y = device.empty(x.shape)
    tokens = max(window, min(n, TOKENS))
    grid = -(-c // CHANNELS), -(-n // tokens), b
    device.launch(kernel, grid, (CHANNELS, tokens), x, w, bias, state, y)
    return y, state
