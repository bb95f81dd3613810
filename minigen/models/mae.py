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

from dataclasses import dataclass

import numpy as np

from minigen.models.watching import tell

EPS = 1e-6


@dataclass(frozen=True, eq=False)
class Query:
    """What is asked of the outer model: int64, where the other arrays live.

    known (w n): the rows of what it reads, rising, the buffer's among them; rows (w m):
    those asked for; positions (w m): the same, counted from the first token and not
    from the first row of the buffer; everywhere (w n): all rows.
    """

    known: object
    rows: object
    positions: object
    everywhere: object


def class_rows(config, labels):
    """Return the rows (b 1) of the table of classes, on the host; -1 is no class."""
    ids = np.asarray(labels, np.int64).reshape(-1, 1)
    return np.where(ids < 0, config.classes, ids)


def class_vectors(ops, weights, ids):
    """Return the vectors (b 1 d) of classes: ids (b 1), see `class_rows`."""
    table = weights["classes"]
    t, d = table.shape
    whole = ops.concat(table.reshape(1, t, d), weights["no_class"].reshape(1, 1, d))
    return ops.embed(whole.reshape(t + 1, d), ids)


def begin(ops, weights, config, ids, everywhere):
    """Return all that the encoder reads while no token is known: (b n d).

    Every position of the buffer holds the class. So does each of the others, until a
    token is written there; nobody reads it before. ids (b 1), everywhere (b n): rows.
    """
    b, n = everywhere.shape
    x = ops.repeat(class_vectors(ops, weights, ids).reshape(b, -1), n)
    return _placed(ops, weights, x, everywhere)


def embed(ops, weights, tokens, rows):
    """Return tokens (b m c) at rows (b m) as the encoder reads them: (b m d)."""
    return _placed(ops, weights, ops.linear(tokens, **weights["tokens"]), rows)


def encode(ops, weights, config, x, watch=None):
    """Run the encoder over all that is known: (b n d) to (b n d)."""
    for i, w in enumerate(weights["encoder"]):
        x = block(ops, w, config.encoder_heads, x)
        tell(watch, f"enc_block{i}", x)
    x = ops.layer_norm(x, **weights["encoder_norm"], eps=EPS)
    tell(watch, "enc_out", x)
    return x


def decode(ops, weights, config, x, query, watch=None):
    """Run the decoder and return what it says of the rows asked for: (b m f).

    x (b n d): what the encoder gave of query.known; query: a `Query`.
    """
    x = ops.linear(x, **weights["decoder_embed"])
    tell(watch, "dec_embed", x)
    b, n = query.everywhere.shape
    whole = ops.repeat(weights["mask"], b * n).reshape(b, n, x.shape[-1])
    x = ops.scatter(whole, x, query.known)
    x = ops.add(x, ops.embed(weights["decoder_positions"], query.everywhere))
    last = len(weights["decoder"]) - 1
    for i, w in enumerate(weights["decoder"]):
        rows = query.rows if i == last else None
        x = block(ops, w, config.decoder_heads, x, rows)
        tell(watch, f"dec_block{i}", x)
    x = ops.layer_norm(x, **weights["decoder_norm"], eps=EPS)
    tell(watch, "dec_norm", x)
    return x


def conditions(ops, weights, config, x, query, watch=None):
    """Return what the head is told of the positions asked for: (b m f).

    x, query: of `decode`. Their place is added once more: it is all that the head knows
    of it.
    """
    z = decode(ops, weights, config, x, query, watch)
    return ops.add(z, ops.embed(weights["head_positions"], query.positions))


def block(ops, w, heads, x, rows=None):
    """Attention and feed-forward layer of a vision transformer: (b n d) to (b n d).

    rows (b m): those that are asked for; the others are only looked at.
    Source: timm 0.9.12 layers of models/vision_transformer.py::Block.
    """
    b, n, d = x.shape
    a = ops.layer_norm(x, **w["norm1"], eps=EPS)
    asked = a
    if rows is not None:
        x, asked = ops.gather(x, rows), ops.gather(a, rows)
    to_q, to_k, to_v = thirds(w["qkv"], d)
    shape = b, -1, heads, d // heads
    q = ops.linear(asked, **to_q).reshape(shape)
    k = ops.linear(a, **to_k).reshape(shape)
    v = ops.linear(a, **to_v).reshape(shape)
    o = ops.attention(q, k, v, n).reshape(*x.shape)
    x = ops.linear(o, **w["proj"], residual=x)
    a = ops.layer_norm(x, **w["norm2"], eps=EPS)
    return ops.linear(ops.gelu(ops.linear(a, **w["fc1"])), **w["fc2"], residual=x)


def thirds(qkv, d):
    """Return the layers of queries, keys and values that one layer holds."""
    w, bias = qkv["w"], qkv["bias"]
    return (
        {"w": w[:d], "bias": bias[:d]},
        {"w": w[d : 2 * d], "bias": bias[d : 2 * d]},
        {"w": w[2 * d :], "bias": bias[2 * d :]},
    )


def _placed(ops, weights, x, rows):
    x = ops.add(x, ops.embed(weights["positions"], rows))
    return ops.layer_norm(x, **weights["tokens_norm"], eps=EPS)
