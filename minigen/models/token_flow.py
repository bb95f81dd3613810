"""A flow within a token: an invertible map of its features.

It is volume-preserving: its log-determinant is 0. Each block is a small causal
transformer: from the groups of features before a group it predicts what is subtracted
from that group. Every second block reads the groups from the last to the first.
`forward` is one pass; `reverse` takes one group after the other.

Source: arXiv 2412.06329 (TarFlow); Qinyu-Allen-Zhao/Arinar module/nf.py::TokenNF.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from minigen.models.kv_cache import KVCache
from minigen.models.mae import thirds
from minigen.models.watching import tell

WIDTH, HEAD_SIZE, BLOCKS = 128, 64, 4
EPS = 1e-5


def forward(ops, w, x):
    """Map features x (b n f) to those that the head models: (b n f)."""
    b, n, f = x.shape
    for i, block in enumerate(w["blocks"]):
        # every second block reads from the last to the first
        order = ops.put(_every(b, np.arange(n)[:: -1 if i % 2 else 1]))
        x = ops.gather(x, order)
        h, _ = _read(ops, block, x, order, KVCache())
        moved = ops.linear(h, **block["out"])
        before = ops.gather(moved, ops.put(_every(b, np.arange(n - 1))))
        x = ops.subtract(x, ops.concat(ops.zeros((b, 1, f)), before))
        x = ops.gather(x, order)
    return x


def reverse(ops, w, x, watch=None):
    """Return the features that `forward` maps to x (b n f).

    watch: called with "sequence" for the input and the output of each block, the last
    block first.
    """
    x = _spread(ops, w["variance"], x)
    tell(watch, "sequence", x)
    for i in reversed(range(len(w["blocks"]))):
        x = _reverse_block(ops, w["blocks"][i], x, turned=i % 2)
        tell(watch, "sequence", x)
    return x


def _reverse_block(ops, w, x, turned):
    b, n, _ = x.shape
    shape = b, n, WIDTH // HEAD_SIZE, HEAD_SIZE
    cache = KVCache(ops.empty(shape), ops.empty(shape))
    rows = [ops.full((b, 1), t) for t in range(n)]
    groups = [ops.gather(x, row) for row in rows]  # n arrays (b 1 f)
    order = list(reversed(range(n))) if turned else list(range(n))
    for one, following in pairwise(order):
        h, cache = _read(ops, w, groups[one], rows[one], cache)
        groups[following] = ops.add(groups[following], ops.linear(h, **w["out"]))
    x = ops.empty(x.shape)
    for t, group in enumerate(groups):
        x = ops.append(x, group, t)
    return x


def _read(ops, w, x, rows, cache):
    # groups x (b m f) at rows (b m): returns (b m d), and the cache with these groups
    b, m, _ = x.shape
    h = ops.add(ops.linear(x, **w["features"]), ops.embed(w["positions"], rows))
    a = ops.layer_norm(h, **w["norm1"], eps=EPS)
    shape = b, m, WIDTH // HEAD_SIZE, HEAD_SIZE  # (b m h e)
    to_q, to_k, to_v = thirds(w["qkv"], WIDTH)
    q = ops.linear(a, **to_q).reshape(shape)
    k = ops.linear(a, **to_k).reshape(shape)
    v = ops.linear(a, **to_v).reshape(shape)
    cache = cache.append(ops, k, v)
    o = cache.attend(ops, q).reshape(b, m, WIDTH)  # (b m h e) -> (b m d)
    h = ops.linear(o, **w["proj"], residual=h)
    a = ops.layer_norm(h, **w["norm2"], eps=EPS)
    h = ops.linear(ops.gelu(ops.linear(a, **w["fc1"])), **w["fc2"], residual=h)
    return h, cache


def _spread(ops, variance, x):
    # x times deviations, which are 1 in all trained models
    b, n, f = x.shape
    deviations = ops.sqrt(ops.repeat(variance.reshape(1, n * f), b))
    return ops.multiply(x, deviations.reshape(b, n, f))


def _every(b, rows):
    return np.ascontiguousarray(np.broadcast_to(rows, (b, len(rows))), np.int64)
