"""ARPG: decode any set of positions at any step, from one shared cache.

The self-decoder reads *content*: the class, then every token known so far, in any
order. Its output is projected once to keys and values. The cross-decoder asks for
*positions*: all queries are the same learned vector, and only the rotation of q says
which position one asks for. So a query never changes what is known.

Source: arXiv 2503.10568, section 3; hp-l33/ARPG models/arpg.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from minigen.models.kv_cache import KVCache, new_caches
from minigen.models.layers import rotary_table, table_rows
from minigen.models.watching import tell, tell_linear

__all__ = [
    "ask", "begin", "check_plan", "control", "feed", "guides", "prompt",
    "rotary_table", "table_rows",
]  # fmt: skip
"""What the loop calls; `rotary_table` and `table_rows` are those of LlamaGen too."""

READINGS = {"block": False, "causal": True}
"""How tokens of one call are read: whether each sees only those before it.

ARPG was trained causally, one token after another. Its released code draws in blocks:
the tokens of a step see each other in both directions.
"""


@dataclass(frozen=True, eq=False)
class Cache:
    """The keys and values of all tokens that the self-decoder has read.

    layers: a KVCache of each of its layers; shared: the one that all layers of the
    cross-decoder read. starts (w t d): of a model with control, what the query for each
    row of the rotary table starts from; None: from the mask vector.
    """

    layers: tuple[KVCache, ...]
    shared: KVCache
    starts: object = None


def guides(guidance):
    """Return True: both halves are computed at any guidance, as in the original."""
    return True


def check_plan(config, plan):
    """Accept any plan: the model draws in any order, on any grid.

    Positions are rotations, so a grid may be larger than that of training.
    """


def prompt(config, labels, rows, known, guided=True):
    """Return what the model reads first: one pair of ids and rows (w 1+k).

    labels: b classes; known (b k): the tokens at rows (k) of the rotary table. w is 2b
    if guided, else b: the first b get the class, the next b the id of "no class".
    """
    first = [config.class_id(label) for label in labels]
    if guided:
        first, known = first + [config.no_class_id] * len(labels), _twice(known)
    ids = np.concatenate([np.array(first)[:, None], known], axis=1)
    rows = np.concatenate([[0], np.asarray(rows, np.int64)])
    return ((ids, np.ascontiguousarray(np.broadcast_to(rows, ids.shape))),)


def new_cache(ops, config, batch, capacity):
    """Return an empty cache with room for `capacity` tokens (the class is one)."""
    shape = (batch, capacity, config.heads, config.head_size)
    *layers, shared = new_caches(ops, config.half + 1, shape)
    return Cache(tuple(layers), shared)


def begin(ops, weights, config, ids, rows, table, capacity, causal=False):
    """Return the cache after prefill: class and known tokens, ids and rows (w n)."""
    cache = new_cache(ops, config, ids.shape[0], capacity)
    return feed(ops, weights, config, cache, ids, rows, table, causal)


def feed(ops, weights, config, cache, ids, rows, table, causal=False, watch=None):
    """Let the self-decoder read tokens, and return the cache that holds them too.

    ids, rows (b n) int64: rows of the embedding table and of the rotary table. All see
    everything read before. causal: of the tokens of this call each sees those before
    it, as in training, so that one call equals a call for each; else they see each
    other in both directions, as the original draws.
    """
    call = ids, rows, table, cache.layers, causal
    layers, k, v = read(ops, weights, config, *call, watch)
    return replace(cache, layers=layers, shared=cache.shared.append(ops, k, v))


def control(ops, weights, config, cache, codes):
    """Return the cache whose queries start from condition tokens.

    codes (w t) int64: the condition token at each row of the rotary table.

    In the paper's extension condition tokens, aligned with the targets, take the place
    of the mask vector. Here a query starts from the mask vector plus the vector of its
    condition token. That is as free as a vector in its place would be, and with a table
    of zeros it is the model without control, from which training begins.

    Source: arXiv 2503.10568, on controllable generation. Ours, from that description:
    no code of it was published.
    """
    return replace(cache, starts=condition(ops, weights, config, codes))


def condition(ops, weights, config, codes):
    """Return what queries start from: (w t d), of condition tokens (w t)."""
    mask = ops.embed(weights["embeddings"], ops.full(codes.shape, config.mask_id))
    return ops.add(mask, ops.embed(weights["control"], codes))


def ask(ops, weights, config, cache, rows, table, causal=False, watch=None):
    """Return the logits (b m v) of the positions at `rows` (b m) of the rotary table.

    A query reads all that the cache holds, and no other query. causal: query t reads
    all but the last m - 1 - t tokens, as in training: so a call answers for the token
    after the first ones, for the next, and so on.
    """
    call = rows, table, cache.shared, causal, watch, cache.starts
    return answer(ops, weights, config, *call)


def forward(ops, weights, config, tokens, labels, order, table, watch=None, codes=None):
    """Return the logits (b n v) of the training form: query t reads what is before t.

    tokens (b n) in raster order, labels (b), order (b n) raster positions: all int64.
    Row t of the logits predicts the token at position order[:, t]. codes (b n) int64:
    of a model with control, the condition tokens in raster order.
    """
    arranged = arrange(config, tokens, labels, order)
    ids, content_rows, query_rows = (ops.put(array) for array in arranged)
    call = ids, content_rows, table, (KVCache(),) * config.half, True
    _, k, v = read(ops, weights, config, *call, watch)
    shared = KVCache().append(ops, k, v)
    starts = None
    if codes is not None:
        codes = ops.put(with_class(config, codes))
        starts = condition(ops, weights, config, codes)
    return answer(ops, weights, config, query_rows, table, shared, True, watch, starts)


def loss(ops, weights, config, tokens, labels, order, table, codes=None):
    """Return the mean cross entropy, in nats a token, of the training form."""
    given = tokens, labels, order, table
    logits = forward(ops, weights, config, *given, codes=codes)
    targets = ops.put(np.take_along_axis(tokens, order, axis=1))
    return ops.cross_entropy(logits, targets)


def loss_after(
    ops, weights, config, tokens, labels, known, asked, table, causal=True, codes=None
):
    """Return the mean cross entropy, in nats a token, of tokens after known ones.

    tokens (b n) in raster order, labels (b): int64; known (k), asked (m): positions.
    The known tokens are read in one call, as causal says (`feed`). Those asked for are
    read in turn, as in training: each is asked for after all before it. codes (b n)
    int64: of a model with control, the condition tokens in raster order.
    """
    targets = np.ascontiguousarray(tokens[:, asked])
    rows = np.tile(table_rows(asked), (len(targets), 1))
    first = prompt(config, labels, table_rows(known), tokens[:, known], guided=False)
    ((ids, where),) = [[ops.put(each) for each in pair] for pair in first]
    room = len(known) + len(asked)
    cache = begin(ops, weights, config, ids, where, table, room, causal)
    if codes is not None:
        codes = ops.put(with_class(config, codes))
        cache = control(ops, weights, config, cache, codes)
    if len(asked) > 1:
        read = (ops.put(np.ascontiguousarray(each[:, :-1])) for each in (targets, rows))
        cache = feed(ops, weights, config, cache, *read, table, causal=True)
    logits = ask(ops, weights, config, cache, ops.put(rows), table, causal=True)
    return ops.cross_entropy(logits, ops.put(targets))


def arrange(config, tokens, labels, order):
    """Return ids, content rows and query rows (b n) of the training form.

    The last token is never fed; queries use the rows of their targets, one ahead of the
    contents. Row 0 of the rotary table is the class token's, row 1 + p position p's.
    """
    shuffled = np.take_along_axis(tokens, order, axis=1)
    class_ids = np.array([[config.class_id(label)] for label in labels], np.int64)
    ids = np.concatenate([class_ids, shuffled[:, :-1]], axis=1)
    query_rows = np.add(order, 1)
    content_rows = np.concatenate(
        [np.zeros_like(class_ids), query_rows[:, :-1]], axis=1
    )
    return ids, content_rows, query_rows


def read(ops, weights, config, ids, rows, table, caches, causal, watch=None):
    """Run the self-decoder over tokens: ids, rows (b n).

    caches: a `KVCache` of each layer; causal: as for `feed`. Returns the caches that
    hold these tokens too, and their keys and values (b n h e) for the shared cache.
    """
    heads = *ids.shape, config.heads, config.head_size  # (b n h e)
    grown = []
    x = ops.embed(weights["embeddings"], ids)  # (b n d)
    tell(watch, "embed", x)
    for i, w in enumerate(weights["self"]):
        a = ops.rms_norm(x, w["attn_norm"], config.norm_eps)
        q = ops.rope2d(ops.linear(a, w["to_q"]).reshape(heads), table, rows)
        k = ops.rope2d(ops.linear(a, w["to_k"]).reshape(heads), table, rows)
        v = ops.linear(a, w["to_v"]).reshape(heads)
        grown.append(caches[i].append(ops, k, v))
        o = grown[i].attend(ops, q, causal).reshape(x.shape)  # (b n h e) -> (b n d)
        tell_linear(watch, f"self{i}_attn", ops, o, w["proj"])
        x = ops.linear(o, w["proj"], residual=x)
        x = feed_forward(ops, config, x, w)
        tell(watch, f"self{i}_out", x)
    m = ops.rms_norm(x, weights["norm"], config.norm_eps)
    k = ops.linear(m, weights["to_k"])
    v = ops.linear(m, weights["to_v"])
    tell(watch, "mid_norm", m)
    tell(watch, "shared_k_prerope", k)
    tell(watch, "shared_v", v)
    k = ops.rope2d(k.reshape(heads), table, rows)  # (b n d) -> (b n h e)
    return tuple(grown), k, v.reshape(heads)


def with_class(config, codes):
    """Return condition tokens (b n) as codes (b 1+n) for the rows of the rotary table.

    On the host. Row 0 is the class token's, and no query asks for it.
    """
    first = np.full((len(codes), 1), config.no_control_id)
    return np.concatenate([first, codes], axis=1)


def answer(
    ops, weights, config, rows, table, shared, causal=False, watch=None, starts=None
):
    """Run the cross-decoder over position-only queries and return logits (b m v).

    shared: the `KVCache` of the shared keys and values; causal: as for `ask`;
    starts: from `condition`, of a model with control.
    """
    heads = *rows.shape, config.heads, config.head_size  # (b m h e)
    if starts is None:
        # the mask vector for every query: (b m d)
        u = ops.embed(weights["embeddings"], ops.full(rows.shape, config.mask_id))
    else:
        u = ops.gather(starts, rows)
    for i, w in enumerate(weights["cross"]):
        a = ops.rms_norm(u, w["attn_norm"], config.norm_eps)
        q = ops.rope2d(ops.linear(a, w["to_q"]).reshape(heads), table, rows)
        tell(watch, f"cross{i}_query", q)
        o = shared.attend(ops, q, causal).reshape(u.shape)  # (b m h e) -> (b m d)
        tell_linear(watch, f"cross{i}_attn", ops, o, w["proj"])
        u = ops.linear(o, w["proj"], residual=u)
        u = feed_forward(ops, config, u, w)
        tell(watch, f"cross{i}_out", u)
    u = ops.rms_norm(u, weights["out_norm"], config.norm_eps)
    tell(watch, "final_norm", u)
    return ops.linear(u, weights["head"])


def feed_forward(ops, config, x, w):
    """x + W_down(silu(W_gate a) * W_up a), with a the normed x: (b n d) to (b n d)."""
    a = ops.rms_norm(x, w["ffn_norm"], config.norm_eps)
    h = ops.swiglu(ops.linear(a, w["gate"]), ops.linear(a, w["up"]))
    return ops.linear(h, w["down"], residual=x)


def _twice(rows):
    return np.concatenate([rows, rows])
