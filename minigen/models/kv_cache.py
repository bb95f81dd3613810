"""Keys and values that a layer of attention has read, and how it reads new ones.

`KVCache` grows while an image is drawn. `Causal` stands in its place where a whole
sequence is read at once, as in training: both have the same two functions, so the
layers of a model are written once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class KVCache:
    """Arrays (b n h e) with room for n tokens, of which the first `length` are valid.

    Keys are kept as attention reads them: already rotated to their positions.
    """

    keys: object
    values: object
    length: int = 0

    def append(self, ops, k, v) -> KVCache:
        """Return the cache that holds keys and values (b m h e) of m tokens more.

        They are written in place: an older cache of the same arrays stays valid.
        """
        keys = ops.append(self.keys, k, self.length)
        values = ops.append(self.values, v, self.length)
        return KVCache(keys, values, self.length + k.shape[1])

    def read(self, ops, q):
        """Return what queries (b m h e) read of all that the cache holds: q's shape."""
        return ops.attention(q, self.keys, self.values, self.length)


@dataclass(frozen=True, eq=False)
class Causal:
    """The keys and values (b n h e) of a whole sequence: query t reads t+1."""

    keys: object = None
    values: object = None

    def append(self, ops, k, v) -> Causal:
        """Return what holds the keys and values of the sequence: nothing is kept."""
        return Causal(k, v)

    def read(self, ops, q):
        """Return what queries (b n h e) read of those not after them: q's shape."""
        return ops.attention_causal(q, self.keys, self.values)


def new_caches(ops, count, shape) -> tuple[KVCache, ...]:
    """Return an empty cache for each of `count` layers; shape: (b n h e) of arrays."""
    return tuple(KVCache(ops.empty(shape), ops.empty(shape)) for _ in range(count))
