"""The outer model of MAR and ARINAR: a masked autoencoder over latent tokens.

The encoder reads what is known: a buffer of positions that all hold the class, and the
known tokens, each plus the learned vector of its position. The decoder writes its
output back to their positions, with a learned mask vector at all others, and gives a
conditioning vector for every position asked for. The head draws the token from that.

Attention is bidirectional, so there is no KV cache: each step reads all tokens again.
Only the last layer of the decoder is computed for the positions asked for alone.

Source: arXiv 2406.11838 (MAR), section 3.4; Qinyu-Allen-Zhao/Arinar backbone/mar.py
::forward_mae_encoder, ::forward_mae_decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen.models.watching import tell

EPS = 1e-6
"""Of the norm of the tokens; that of the others is the configuration's."""


@dataclass(frozen=True, eq=False)
class Query:
    """The question of one step: arrays of int64, where the others live.

    known (w n): the rows that the encoder reads, in rising order, those of the buffer
    among them; rows (w m): those asked for; positions (w m): the same, counted from the
    first token and not from the first row of the buffer; everywhere (w n): all rows.
    """

    known: object
    rows: object
    positions: object
    everywhere: object


def class_rows(config, labels):
    """Return the rows (b 1) of labels (b) in the class table, on the host.

    A label of -1 is "no class", the last row.
    """
    ids = np.asarray(labels, np.int64).reshape(-1, 1)
    return np.where(ids < 0, config.classes, ids)


def class_vectors(ops, weights, ids):
    """Return the class vectors (b 1 d) of ids (b 1), from `class_rows`."""
    table = weights["classes"]
    t, d = table.shape
    whole = ops.concat(table.reshape(1, t, d), weights["no_class"].reshape(1, 1, d))
    return ops.embed(whole.reshape(t + 1, d), ids)


def begin(ops, weights, config, ids, everywhere):
    """Return the input of the encoder (b n d) for all n rows, with no token known.

    Every row of the buffer holds the class. So does every other row until a token is
    written there, but it is not read before. ids (b 1): from `class_rows`; everywhere
    (b n): all rows.
    """
    b, n = everywhere.shape
    x = ops.repeat(class_vectors(ops, weights, ids).reshape(b, -1), n)  # (b n d)
    return _with_positions(ops, weights, x, everywhere)


def embed(ops, weights, tokens, rows):
    """Return the input of the encoder (b m d) for tokens (b m c) at rows (b m)."""
    return _with_positions(ops, weights, ops.linear(tokens, **weights["tokens"]), rows)


def encode(ops, weights, config, x, watch=None):
    """Run the encoder over the known rows x: (b n d) to (b n d)."""
    for i, w in enumerate(weights["encoder"]):
        x = block(ops, w, config.encoder_heads, x, config.norm_eps)
        tell(watch, f"enc_block{i}", x)
    x = ops.layer_norm(x, **weights["encoder_norm"], eps=config.norm_eps)
    tell(watch, "enc_out", x)
    return x


def decode(ops, weights, config, x, query, watch=None):
    """Run the decoder and return its output at query.rows: (b m d).

    x (b n d): the output of the encoder at query.known.
    """
    x = ops.linear(x, **weights["decoder_embed"])  # to the width of the decoder
    tell(watch, "dec_embed", x)
    b, n = query.everywhere.shape
    whole = ops.repeat(weights["mask"], b * n).reshape(b, n, x.shape[-1])
    x = ops.scatter(whole, x, query.known)  # known rows to all rows
    x = ops.add(x, ops.embed(weights["decoder_positions"], query.everywhere))
    last = len(weights["decoder"]) - 1
    for i, w in enumerate(weights["decoder"]):
        rows = query.rows if i == last else None
        x = block(ops, w, config.decoder_heads, x, config.norm_eps, rows)
        tell(watch, f"dec_block{i}", x)
    x = ops.layer_norm(x, **weights["decoder_norm"], eps=config.norm_eps)
    tell(watch, "dec_norm", x)
    return x


def conditions(ops, weights, config, x, query, watch=None):
    """Return the conditioning vectors z (b m d) of the head at query.positions.

    x, query: as for `decode`. The position embedding is added again, since the head has
    no other position input.
    """
    z = decode(ops, weights, config, x, query, watch)
    return ops.add(z, ops.embed(weights["head_positions"], query.positions))


def block(ops, w, heads, x, eps, rows=None):
    """Attention and feed-forward layer of a vision transformer: (b n d) to (b n d).

    eps: of both norms; rows (b m): compute only these, (b m d); keys and values come
    from all rows.
    Source: timm 0.9.12 layers of models/vision_transformer.py::Block.
    """
    b, n, d = x.shape
    a = ops.layer_norm(x, **w["norm1"], eps=eps)
    asked = a
    if rows is not None:
        x, asked = ops.gather(x, rows), ops.gather(a, rows)
    to_q, to_k, to_v = thirds(w["qkv"], d)
    shape = b, -1, heads, d // heads  # (b n h e)
    q = ops.linear(asked, **to_q).reshape(shape)
    k = ops.linear(a, **to_k).reshape(shape)
    v = ops.linear(a, **to_v).reshape(shape)
    o = ops.attention(q, k, v, n).reshape(*x.shape)  # (b m h e) -> (b m d)
    x = ops.linear(o, **w["proj"], residual=x)
    a = ops.layer_norm(x, **w["norm2"], eps=eps)
    return ops.linear(ops.gelu(ops.linear(a, **w["fc1"])), **w["fc2"], residual=x)


def thirds(qkv, d):
    """Return the projections of queries, keys and values, which one layer holds."""
    w, bias = qkv["w"], qkv["bias"]
    return (
        {"w": w[:d], "bias": bias[:d]},
        {"w": w[d : 2 * d], "bias": bias[d : 2 * d]},
        {"w": w[2 * d :], "bias": bias[2 * d :]},
    )


def _with_positions(ops, weights, x, rows):
    x = ops.add(x, ops.embed(weights["positions"], rows))
    return ops.layer_norm(x, **weights["tokens_norm"], eps=EPS)
