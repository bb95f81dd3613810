"""LlamaGen: one causal decoder that draws one token a step, row by row.

The class is the first token of the sequence; each row of the sequence predicts the
token that follows it. While an image is drawn, the keys and values of all tokens stay
in a KV cache, which grows by one token a step. It is the baseline of ARPG and AiM.

Source: arXiv 2406.06525, section 2.2; FoundationVision/LlamaGen
autoregressive/models/gpt.py and generate.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen.errors import InputError
from minigen.models.codes import one_by_one
from minigen.models.kv_cache import KVCache, new_caches
from minigen.models.layers import rotary_table, table_rows
from minigen.models.watching import tell, tell_linear
from minigen.plans import check_raster

__all__ = [
    "ask", "begin", "check_plan", "feed", "guides", "prompt", "rotary_table",
    "table_rows",
]  # fmt: skip
"""What the loop calls; `rotary_table` and `table_rows` are those of ARPG too."""


@dataclass(frozen=True, eq=False)
class Cache:
    """The keys and values of all tokens read, and the output for the last one.

    layers: a KVCache of each layer; last (b 1 d): the output of the last layer for the
    last token.
    """

    layers: tuple[KVCache, ...]
    last: object = None


def guides(guidance):
    """Return whether the unconditional half is needed: not at guidance 1.

    Below 1 the formula is the same as in the other models; the original has no guidance
    below 1, and draws as at 1 there.
    """
    return guidance != 1


def check_plan(config, plan):
    """Raise InputError unless `plan` is one token a step in raster order.

    Known tokens must come first in that order.
    """
    check_raster(plan)


def prompt(config, labels, rows, known, guided=True):
    """Return what the model reads first: 1+k pairs of ids and rows (w 1), in turn.

    labels: b classes; known (b k): the tokens at rows (k) of the rotary table. w is 2b
    if guided, else b: the first b get the class, the next b the id of "no class".
    """
    if (guided or config.no_class_id in labels) and not config.no_class:
        raise InputError(
            "this model was trained without dropping classes, so it knows no guidance, "
            "and draws nothing without a class; ask for guidance 1 and for a class"
        )
    none = [config.no_class_id] * len(labels) if guided else []
    return one_by_one([*labels, *none], rows, known)


def new_cache(ops, config, batch, capacity):
    """Return an empty cache with room for `capacity` tokens (the class is one)."""
    shape = (batch, capacity, config.key_heads, config.head_size)
    return Cache(new_caches(ops, config.layers, shape))


def begin(ops, weights, config, ids, rows, table, capacity, causal=True):
    """Return the cache of a decoder that has read the class: ids, rows (b 1) int64.

    capacity: as for `new_cache`; causal: not used, it reads one token at a time.
    """
    cache = new_cache(ops, config, ids.shape[0], capacity)
    x = ops.embed(weights["classes"], ids)
    return _read(ops, weights, config, cache, x, rows, table)


def feed(ops, weights, config, cache, ids, rows, table, causal=True):
    """Read one token of each image (a decode step); return the cache that holds it too.

    ids, rows (b 1) int64: rows of the token table and of the rotary table.
    """
    x = ops.embed(weights["embeddings"], ids)
    return _read(ops, weights, config, cache, x, rows, table)


def ask(ops, weights, config, cache, rows, table):
    """Return the logits (b 1 v) of the next token in raster order.

    rows and table are not used: the order alone says which token is next.
    """
    return _answer(ops, weights, config, cache.last)


def forward(ops, weights, config, tokens, labels, table, watch=None):
    """Return the logits (b 1+n v) of the training form: row t predicts token t.

    tokens (b n) in raster order, labels (b): int64. To train, the last token of an
    image is left out: nothing follows it.
    """
    b, n = tokens.shape[0], 1 + tokens.shape[1]
    classes = np.asarray(labels, np.int64).reshape(b, 1)
    rows = np.ascontiguousarray(np.broadcast_to(np.arange(n), (b, n)))
    # the class and the tokens come from two tables
    x = ops.concat(
        ops.embed(weights["classes"], ops.put(classes)),
        ops.embed(weights["embeddings"], ops.put(np.ascontiguousarray(tokens))),
    )
    tell(watch, "embed", x)
    caches = (KVCache(),) * config.layers
    _, x = _decode(ops, weights, config, x, ops.put(rows), table, caches, watch)
    return _answer(ops, weights, config, x, watch)


def loss(ops, weights, config, tokens, labels, table):
    """Return the mean cross entropy, in nats a token, of the training form."""
    logits = forward(ops, weights, config, tokens[:, :-1], labels, table)
    return ops.cross_entropy(logits, ops.put(tokens))


def _read(ops, weights, config, cache, x, rows, table):
    # x (b 1 d), rows (b 1): one token more in the cache of every layer
    return Cache(*_decode(ops, weights, config, x, rows, table, cache.layers))


def _decode(ops, weights, config, x, rows, table, caches, watch=None):
    # all layers: (b n d) to (b n d); caches: a `KVCache` of each
    b, n, d = x.shape
    grown = []
    queries = (b, n, config.heads, config.head_size)  # (b n h e)
    keys = (b, n, config.key_heads, config.head_size)
    for i, w in enumerate(weights["layers"]):
        a = ops.rms_norm(x, w["attn_norm"], config.norm_eps)
        to_q, to_k, to_v = _parts(config, w["qkv"])
        q = ops.rope2d(ops.linear(a, to_q).reshape(queries), table, rows)
        k = ops.rope2d(ops.linear(a, to_k).reshape(keys), table, rows)
        v = ops.linear(a, to_v).reshape(keys)
        grown.append(caches[i].append(ops, k, v))
        o = grown[i].attend(ops, q).reshape(b, n, d)  # (b n h e) -> (b n d)
        tell_linear(watch, f"layer{i}_qkv", ops, a, w["qkv"])
        tell_linear(watch, f"layer{i}_attn", ops, o, w["proj"])
        x = ops.linear(o, w["proj"], residual=x)
        a = ops.rms_norm(x, w["ffn_norm"], config.norm_eps)
        h = ops.swiglu(ops.linear(a, w["gate"]), ops.linear(a, w["up"]))
        tell_linear(watch, f"layer{i}_ffn", ops, h, w["down"])
        x = ops.linear(h, w["down"], residual=x)
        tell(watch, f"layer{i}_out", x)
    return tuple(grown), x


def _parts(config, qkv):
    # one matrix holds the projections of queries, keys and values, one below the other
    d, r = config.width, config.key_width
    return qkv[:d], qkv[d : d + r], qkv[d + r :]


def _answer(ops, weights, config, x, watch=None):
    x = ops.rms_norm(x, weights["out_norm"], config.norm_eps)
    tell(watch, "final_norm", x)
    return ops.linear(x, weights["head"])
