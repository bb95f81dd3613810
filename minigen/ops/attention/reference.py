"""Softmax attention over a cache of keys and values, causal or not.

Keys and values may have fewer heads than queries (grouped-query attention): each of
their r heads is shared by h / r neighbouring heads of queries, so the KV cache is h / r
times smaller.

Source: Vaswani et al., arXiv 1706.03762, equation 1; hp-l33/ARPG models/arpg.py
::Attention (no mask while decoding, causal while training); shared heads: Ainslie et
al., arXiv 2305.13245.
"""

from __future__ import annotations

import numpy as np


def softmax(scores):
    """(b h m n) -> (b h m n)

    Return exp(scores) / sum exp(scores) over the last axis.

    >>> softmax(np.zeros((1, 1, 1, 4))).tolist()
    [[[[0.25, 0.25, 0.25, 0.25]]]]
    """
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def attention(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)
    where r divides h, 1 <= length <= n

    Return softmax(q k^T / sqrt(e)) v over the first `length` keys of a cache.

    >>> keys, values = np.zeros((1, 4, 1, 2)), np.full((1, 4, 1, 2), 7.0)
    >>> attention(np.ones((1, 1, 1, 2)), keys, values, 2).tolist()
    [[[[7.0, 7.0]]]]
    """
    k, v = _share(k[:, :length], q), _share(v[:, :length], q)  # (b n h e)
    scores = np.einsum("bmhe,bnhe->bhmn", q, k) / q.dtype.type(np.sqrt(q.shape[-1]))
    return np.einsum("bhmn,bnhe->bmhe", softmax(scores), v)


def attention_causal(q, k, v, length):
    """(b m h e), (b n r e), (b n r e) -> (b m h e)
    where r divides h, 1 <= m <= length <= n

    Return causal attention of the m newest tokens of the first `length` in a cache:
    query t reads the length - m + t + 1 keys up to its own. So one call equals m calls
    of one token. A whole sequence, as in training, is the case m = length = n.

    >>> k, v = np.zeros((1, 3, 1, 1)), np.array([3.0, 6.0, 9.0]).reshape(1, 3, 1, 1)
    >>> attention_causal(np.ones((1, 2, 1, 1)), k, v, 3).ravel()
    array([4.5, 6. ])
    """
    m, k, v = q.shape[1], _share(k[:, :length], q), _share(v[:, :length], q)
    scores = np.einsum("bmhe,bnhe->bhmn", q, k) / q.dtype.type(np.sqrt(q.shape[-1]))
    own = length - m + np.arange(m)  # which key is a query's own
    future = np.arange(length)[None, :] > own[:, None]
    scores = np.where(future, q.dtype.type(-np.inf), scores)
    return np.einsum("bhmn,bnhe->bmhe", softmax(scores), v)


def _share(x, q):
    # (b n r e) -> (b n h e): repeat each head of keys or values for its queries
    shared = q.shape[2] // x.shape[2]
    return x if shared == 1 else np.repeat(x, shared, axis=2)
