"""The outer model of MAR and ARINAR: a masked autoencoder over latent tokens.

The encoder reads what is known: a buffer of positions that all hold the class, and the
known tokens, each with its learned position. The decoder puts them back where they
belong, a learned vector everywhere else, and gives a vector for every position asked
for: all that the head, which draws the token there, knows of the rest.

Attention goes in both directions, so nothing can be cached: each step reads all again.
Only the last layer of the decoder is spared what nobody asks for.

Source: arXiv 2406.11838 (MAR), section 3.4; Qinyu-Allen-Zhao/Arinar backbone/mar.py
::forward_mae_encoder, ::forward_mae_decoder.
"""

from __future__ import annotations

import numpy as np

from minigen.models.layers import join, layer_norm, linear, linear_add
from minigen.models.watching import tell

EPS = 1e-6


def class_vectors(ops, weights, labels):
    """Return the vectors (b 1 d) of labels (b); -1 stands for "no condition"."""
    table = weights["classes"]
    t, d = table.shape
    whole = join(ops, table.reshape(1, t, d), weights["no_class"].reshape(1, 1, d))
    ids = np.asarray(labels, np.int64).reshape(-1, 1)
    return ops.embed(whole.reshape(t + 1, d), ops.put(np.where(ids < 0, t, ids)))


def buffer(ops, weights, config, vectors):
    """Return what the encoder reads before all tokens, of classes (b 1 d): (b n d).

    Every position of the buffer holds the class. It is the same at every step.
    """
    rows = _every(len(vectors), config.buffer)
    x = ops.gather(vectors, ops.put(np.zeros_like(rows)))
    return _placed(ops, weights, x, rows)


def embed(ops, weights, config, tokens, positions):
    """Return tokens (b n c) at raster positions (b n) as the encoder reads them."""
    x = linear(ops, tokens, weights["tokens"])
    return _placed(ops, weights, x, positions + config.buffer)


def encode(ops, weights, config, x, watch=None):
    """Run the encoder over all that is known: (b n d) to (b n d)."""
    for i, w in enumerate(weights["encoder"]):
        x = block(ops, w, config.encoder_heads, x)
        tell(watch, f"enc_block{i}", x)
    x = layer_norm(ops, x, weights["encoder_norm"], EPS)
    tell(watch, "enc_out", x)
    return x


def decode(ops, weights, config, x, known, rows, watch=None):
    """Run the decoder and return what it says of `rows`: (b n d) to (b m f).

    x: what the encoder gave; known (b n - buffer): positions of its tokens; rows (b m):
    the rows that are asked for, counted from the first of the buffer. int64, on the
    host.
    """
    b, n = len(x), config.buffer + config.tokens
    x = linear(ops, x, weights["decoder_embed"])
    tell(watch, "dec_embed", x)
    everywhere = _every(b, n)
    seen = np.concatenate([_every(b, config.buffer), known + config.buffer], axis=1)
    whole = ops.embed(weights["mask"], ops.put(np.zeros_like(everywhere)))
    x = ops.scatter(whole, x, ops.put(seen))
    x = ops.add(x, ops.embed(weights["decoder_positions"], ops.put(everywhere)))
    last = len(weights["decoder"]) - 1
    rows = ops.put(rows)
    for i, w in enumerate(weights["decoder"]):
        x = block(ops, w, config.decoder_heads, x, rows if i == last else None)
        tell(watch, f"dec_block{i}", x)
    x = layer_norm(ops, x, weights["decoder_norm"], EPS)
    tell(watch, "dec_norm", x)
    return x


def conditions(ops, weights, config, x, known, positions, watch=None):
    """Return what the head is told of positions (b m): (b m f). x, known: of `decode`.

    Their place is added once more: it is all that the head knows of it.
    """
    z = decode(ops, weights, config, x, known, positions + config.buffer, watch)
    return ops.add(z, ops.embed(weights["head_positions"], ops.put(positions)))


def block(ops, w, heads, x, rows=None):
    """Attention and feed-forward layer of a vision transformer: (b n d) to (b n d).

    rows (b m): those that are asked for; the others are only looked at.
    Source: timm 0.9.12 layers of models/vision_transformer.py::Block.
    """
    b, n, d = x.shape
    a = layer_norm(ops, x, w["norm1"], EPS)
    asked = a
    if rows is not None:
        x, asked = ops.gather(x, rows), ops.gather(a, rows)
    q, k, v = (
        linear(ops, seen, part).reshape(b, -1, heads, d // heads)
        for seen, part in zip((asked, a, a), thirds(w["qkv"], d), strict=True)
    )
    o = ops.attention(q, k, v, n).reshape(*x.shape)
    x = linear_add(ops, o, w["proj"], x)
    a = layer_norm(ops, x, w["norm2"], EPS)
    return linear_add(ops, ops.gelu(linear(ops, a, w["fc1"])), w["fc2"], x)


def thirds(qkv, d):
    """Return the layers of queries, keys and values that one layer holds."""
    return [
        {"w": qkv["w"][i : i + d], "bias": qkv["bias"][i : i + d]}
        for i in (0, d, 2 * d)
    ]


def _placed(ops, weights, x, rows):
    x = ops.add(x, ops.embed(weights["positions"], ops.put(rows)))
    return layer_norm(ops, x, weights["tokens_norm"], EPS)


def _every(b, n):
    return np.ascontiguousarray(np.broadcast_to(np.arange(n), (b, n)))
