"""A flow within a token: an invertible map of its features that keeps all volumes.

Each block is a small causal transformer that says by how much every group of features
is moved, from the groups before it; every second block reads them from the last to the
first. So the way there takes one pass, and the way back one group after the other.

Source: arXiv 2412.06329 (TarFlow); Qinyu-Allen-Zhao/Arinar module/nf.py::TokenNF.
"""

from __future__ import annotations

import numpy as np

from minigen.models.layers import join, layer_norm, linear, linear_add
from minigen.models.mae import thirds
from minigen.models.watching import tell

WIDTH, HEAD_SIZE, BLOCKS = 128, 64, 4
EPS = 1e-5


def forward(ops, w, x):
    """Return what the head models of features x (b n f): the same shape."""
    b, n, f = x.shape
    for i, block in enumerate(w["blocks"]):
        x = _turned(ops, x, i)
        rows = ops.put(_every(b, np.arange(n)))
        h = _read(ops, block, i, x, rows, n, ops.attention_causal)
        moved = linear(ops, h, block["out"])
        before = ops.gather(moved, ops.put(_every(b, np.arange(n - 1))))
        nothing = ops.zeros((b, 1, f))
        x = ops.add(x, _negative(ops, join(ops, nothing, before)))
        x = _turned(ops, x, i)
    return x


def reverse(ops, w, x, watch=None):
    """Return the features that `forward` maps to x (b n f).

    watch: told "sequence" of what goes in, and of what each block gave, the last first.
    """
    b, n, f = x.shape
    # w["variance"] is learned with nothing here: it is one in all that was trained
    root = ops.put(np.sqrt(np.asarray(ops.get(w["variance"]), np.float32)))
    x = ops.gate(x.reshape(b, 1, n * f), _spread(ops, root.reshape(1, n * f), b))
    x = x.reshape(b, n, f)
    tell(watch, "sequence", x)
    for i in reversed(range(len(w["blocks"]))):
        x = _turned(ops, x, i)
        x = _reverse_block(ops, w["blocks"][i], i, x)
        x = _turned(ops, x, i)
        tell(watch, "sequence", x)
    return x


def _reverse_block(ops, w, i, x):
    b, n, _ = x.shape
    shape = b, n, WIDTH // HEAD_SIZE, HEAD_SIZE
    keys, values = ops.empty(shape), ops.empty(shape)
    groups = [ops.gather(x, ops.put(_every(b, [t]))) for t in range(n)]
    for t in range(n - 1):

        def attend(q, k, v, t=t):
            held = ops.append(keys, k, t), ops.append(values, v, t)
            return ops.attention(q, *held, t + 1)

        rows = ops.put(_every(b, [t]))
        h = _read(ops, w, i, groups[t], rows, n, attend)
        groups[t + 1] = ops.add(groups[t + 1], linear(ops, h, w["out"]))
    return join(ops, *groups)


def _read(ops, w, i, x, rows, n, attend):
    # (b m f) at rows (b m) of n to (b m d)
    b, m, _ = x.shape
    table = _turned(ops, w["positions"].reshape(1, n, WIDTH), i).reshape(n, WIDTH)
    h = ops.add(linear(ops, x, w["features"]), ops.embed(table, rows))
    a = layer_norm(ops, h, w["norm1"], EPS)
    shape = b, m, WIDTH // HEAD_SIZE, HEAD_SIZE
    q, k, v = (linear(ops, a, p).reshape(shape) for p in thirds(w["qkv"], WIDTH))
    h = linear_add(ops, attend(q, k, v).reshape(b, m, WIDTH), w["proj"], h)
    a = layer_norm(ops, h, w["norm2"], EPS)
    return linear_add(ops, ops.gelu(linear(ops, a, w["fc1"])), w["fc2"], h)


def _turned(ops, x, i):
    # every second block reads from the last to the first
    if i % 2 == 0:
        return x
    b, n, _ = x.shape
    return ops.gather(x, ops.put(_every(b, np.arange(n)[::-1])))


def _negative(ops, x):
    return ops.gate(x, ops.put(np.full((x.shape[0], 1, x.shape[2]), -1, np.float32)))


def _spread(ops, row, b):
    return ops.embed(row, ops.put(np.zeros((b, 1), np.int64)))


def _every(b, rows):
    return np.ascontiguousarray(np.broadcast_to(rows, (b, len(rows))), np.int64)
