"""The scan of Mamba-2 on a GPU: all tokens at once, chunk by chunk, or one by one."""

from __future__ import annotations

import math

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.ops.intrinsics import widen
from minigen.ops.ssd import cuda_chunked as chunked
from minigen.ops.ssd.cuda_chunked import (
    _ssd_chunked_left,
    _ssd_chunked_outputs,
    _ssd_chunked_scores,
    _ssd_chunked_states,
)
from minigen.target import cuda, gpu_inline, gpu_kernel


def ssd_chunked(device, x, delta, A_log, B, C, D, state, chunk):
    # (b n h p), (b n h), (h), (b n r s), (b n r s), (h), (b h p s)
    # -> (b n h p), (b h p s)
    """Return the same as `ssd`, `chunk` tokens at a time."""
    if chunk < 1:
        raise ShapeError(f"chunk is {chunk}; a chunk has at least one token")
    b, n, h, p, r, s = _expect(x, delta, A_log, B, C, D, state)
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


def _expect(x, delta, A_log, B, C, D, state):
    b, n, h, p = x.shape
    r, s = B.shape[-2:]
    if h % r:
        raise ShapeError(f"{h} heads do not divide into {r} groups")
    buffers.expect("delta", delta, (b, n, h))
    buffers.expect("A_log", A_log, (h,))
    buffers.expect("B", B, (b, n, r, s))
    buffers.expect("C", C, (b, n, r, s))
    buffers.expect("D", D, (h,))
    buffers.expect("state", state, (b, h, p, s))
    return b, n, h, p, r, s
