"""LlamaGen: one causal decoder that draws one token a step, row by row.

The class is the first token of the sequence; each row of the sequence predicts the
token that follows it. While an image is drawn, keys and values of all that was read
stay in a cache, which grows by a row a step: the baseline of ARPG and AiM.

Source: arXiv 2406.06525, section 2.2; FoundationVision/LlamaGen
autoregressive/models/gpt.py and generate.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minigen.errors import InputError
from minigen.models.watching import tell, tell_linear
from minigen.plans import check_raster


@dataclass(frozen=True, eq=False)
class Cache:
    """What the decoder has read so far, and what it makes of the last token.

    keys, values: of each layer, arrays (b n r e) with room for n tokens, of which the
    first `length` are valid; keys are already rotated to their positions. last (b 1 d):
    what the last layer gave for the token read last.
    """

    keys: tuple
    values: tuple
    last: object
    length: int


def guides(guidance):
    """Say whether there is any guidance: not at 1.

    Below 1 the formula holds as in the other models; the original, which knows guidance
    above 1 only, draws as at 1.
    """
    return guidance != 1


def check_plan(config, plan):
    """Raise InputError unless `plan` is one token a step in raster order.

    What is known must come first in that order too.
    """
    check_raster(plan)


def table_rows(positions, options=None):
    """Return the rows of the rotary table of raster positions, as int64.

    Row 0 is that of the class.
    """
    return np.asarray(positions, np.int64) + 1


def prompt(config, labels, rows, known, guided=True):
    """Return ids and rows (1+k w) of what the model is told first, one row a token.

    labels: b classes; known (b k): the tokens at rows (k) of the rotary table. The
    first b of the w columns are told the class, and the next b, if guided, that there
    is no condition.
    """
    if guided and not config.no_class:
        raise InputError(
            "this model was trained without dropping classes, so it knows no guidance; "
            "ask for guidance 1"
        )
    halves = 2 if guided else 1
    first = np.array([*labels, *[config.no_class_id] * len(labels)])
    first = first[None, : halves * len(labels)]
    ids = np.concatenate([first, np.tile(np.transpose(known), (1, halves))])
    rows = np.concatenate([[0], np.asarray(rows, np.int64)])
    return ids, np.ascontiguousarray(np.broadcast_to(rows[:, None], ids.shape))


def new_cache(ops, config, batch, capacity):
    """Return an empty cache with room for `capacity` tokens (the class is one)."""
    shape = (batch, capacity, config.key_heads, config.head_size)
    return Cache(
        keys=tuple(ops.empty(shape) for _ in range(config.layers)),
        values=tuple(ops.empty(shape) for _ in range(config.layers)),
        last=None,
        length=0,
    )


def begin(ops, weights, config, ids, rows, table, capacity):
    """Return the cache of a decoder that has read the class and what is known.

    ids, rows (1+k b) int64: of `prompt`; capacity: as for `new_cache`.
    """
    n, b = ids.shape
    cache = new_cache(ops, config, b, capacity)
    x = ops.embed(weights["classes"], ids[:1].reshape(b, 1))
    cache = _read(ops, weights, config, cache, x, rows[:1].reshape(b, 1), table)
    for i in range(1, n):
        now = (a[i : i + 1].reshape(b, 1) for a in (ids, rows))
        cache = feed(ops, weights, config, cache, *now, table)
    return cache


def feed(ops, weights, config, cache, ids, rows, table):
    """Let the decoder read one token of each image; return the cache that holds it too.

    ids, rows (b 1) int64: rows of the table of tokens and of the rotary table.
    """
    x = ops.embed(weights["embeddings"], ids)
    return _read(ops, weights, config, cache, x, rows, table)


def ask(ops, weights, config, cache, rows, table):
    """Return the logits (b 1 v) of the token that follows those read.

    Which one that is lies in the order alone: rows and table are not looked at.
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

    def attend(layer):
        return ops.attention_causal

    x = _decode(ops, weights, config, x, ops.put(rows), table, attend, watch)
    return _answer(ops, weights, config, x, watch)


def loss(ops, weights, config, tokens, labels, table):
    """Return the mean cross entropy, in nats a token, of the training form."""
    logits = forward(ops, weights, config, tokens[:, :-1], labels, table)
    return ops.cross_entropy(logits, ops.put(tokens))


def rotary_table(ops, config, grid=None):
    """Return the rotary table (t e/2 2) of a grid, by default the trained one.

    It is on the host; `ops.put` moves it to where the other arrays live.
    """
    rows, columns = grid or (config.side, config.side)
    return ops.rope_table(rows, columns, config.head_size, config.rope_base)


def _read(ops, weights, config, cache, x, rows, table):
    # x (b 1 d), rows (b 1): keys and values of all layers get a row more
    layer_keys, layer_values = [], []
    length = cache.length + x.shape[1]

    def attend(layer):
        def attend_cache(q, k, v):
            layer_keys.append(ops.append(cache.keys[layer], k, cache.length))
            layer_values.append(ops.append(cache.values[layer], v, cache.length))
            return ops.attention(q, layer_keys[-1], layer_values[-1], length)

        return attend_cache

    last = _decode(ops, weights, config, x, rows, table, attend)
    keys, values = tuple(layer_keys), tuple(layer_values)
    return replace(cache, keys=keys, values=values, last=last, length=length)


def _decode(ops, weights, config, x, rows, table, attend, watch=None):
    # all layers: (b n d) to (b n d); attend(layer) gives a function of q, k, v
    b, n, d = x.shape
    queries = (b, n, config.heads, config.head_size)
    keys = (b, n, config.key_heads, config.head_size)
    for i, w in enumerate(weights["layers"]):
        a = ops.rms_norm(x, w["attn_norm"], config.norm_eps)
        to_q, to_k, to_v = _parts(config, w["qkv"])
        q = ops.rope2d(ops.linear(a, to_q).reshape(queries), table, rows)
        k = ops.rope2d(ops.linear(a, to_k).reshape(keys), table, rows)
        v = ops.linear(a, to_v).reshape(keys)
        o = attend(i)(q, k, v).reshape(b, n, d)
        tell_linear(watch, f"layer{i}_qkv", ops, a, w["qkv"])
        tell_linear(watch, f"layer{i}_attn", ops, o, w["proj"])
        x = ops.linear(o, w["proj"], residual=x)
        a = ops.rms_norm(x, w["ffn_norm"], config.norm_eps)
        h = ops.swiglu(ops.linear(a, w["gate"]), ops.linear(a, w["up"]))
        tell_linear(watch, f"layer{i}_ffn", ops, h, w["down"])
        x = ops.linear(h, w["down"], residual=x)
        tell(watch, f"layer{i}_out", x)
    return x


def _parts(config, qkv):
    # the rows of one matrix that make queries, keys and values
    d, r = config.width, config.key_width
    return qkv[:d], qkv[d : d + r], qkv[d + r :]


def _answer(ops, weights, config, x, watch=None):
    x = ops.rms_norm(x, weights["out_norm"], config.norm_eps)
    tell(watch, "final_norm", x)
    return ops.linear(x, weights["head"])
