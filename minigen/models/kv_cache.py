"""The keys and values of an attention layer: cached, or of one whole sequence.

`KVCache` grows while an image is drawn. In training a whole sequence is read at once:
then `Causal` takes its place. Both have the same two functions, so the layers of a
model are written once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class KVCache:
    """Arrays (b n h e) with room for n tokens; the first `length` tokens are valid.

    Keys are stored after their rotation by position.
    """

    keys: object
    values: object
    length: int = 0

    def append(self, ops, k, v) -> KVCache:
        """Return the cache with keys and values (b m h e) of m more tokens.

        They are written in place, behind what is valid: append to the newest cache
        only, for a second one would overwrite what came after an older.
        """
        keys = ops.append(self.keys, k, self.length)
        values = ops.append(self.values, v, self.length)
        return KVCache(keys, values, self.length + k.shape[1])

    def attend(self, ops, q):
        """Return the attention of queries (b m h e) to all cached tokens: (b m h e)."""
        return ops.attention(q, self.keys, self.values, self.length)


@dataclass(frozen=True, eq=False)
class Causal:
    """Keys and values (b n h e) of a whole sequence: query t reads the first t+1."""

    keys: object = None
    values: object = None

    def append(self, ops, k, v) -> Causal:
        """Return the keys and values of the sequence k, v: of that alone."""
        return Causal(k, v)

    def attend(self, ops, q):
        """Return the causal attention of queries (b n h e): (b n h e)."""
        return ops.attention_causal(q, self.keys, self.values)


def new_caches(ops, count, shape) -> tuple[KVCache, ...]:
    """Return an empty cache for each of `count` layers; shape: (b n h e) of arrays."""
    return tuple(KVCache(ops.empty(shape), ops.empty(shape)) for _ in range(count))
