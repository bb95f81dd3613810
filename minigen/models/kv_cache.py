"""The keys and values of an attention layer: cached, or of one whole sequence.

A cache grows while an image is drawn. In training a whole sequence is read at once:
then an empty cache without room is given, and the layers of a model are written once.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class KVCache:
    """Arrays (b n h e) with room for n tokens; the first `length` tokens are valid.

    Keys are stored after their rotation by position. Without arrays it has no room: it
    takes one whole sequence, whose arrays become its own.
    """

    keys: object = None
    values: object = None
    length: int = 0

    def append(self, ops, k, v) -> KVCache:
        """Return the cache with keys and values (b m h e) of m more tokens.

        They are written in place, behind what is valid: append to the newest cache
        only, for a second one would overwrite what came after an older.
        """
        if self.keys is None:
            return KVCache(k, v, k.shape[1])
        keys = ops.append(self.keys, k, self.length)
        values = ops.append(self.values, v, self.length)
        return KVCache(keys, values, self.length + k.shape[1])

    def attend(self, ops, q, causal=True):
        """Return the attention of queries (b m h e) to cached tokens: (b m h e).

        causal: the queries belong to the m newest tokens in turn, and each sees those
        up to its own. Else all of them see all that is cached.
        """
        # the newest token sees all that is cached in any case
        causal = causal and q.shape[1] > 1
        attend = ops.attention_causal if causal else ops.attention
        return attend(q, self.keys, self.values, self.length)


def new_caches(ops, count, shape) -> tuple[KVCache, ...]:
    """Return an empty cache for each of `count` layers; shape: (b n h e) of arrays."""
    return tuple(KVCache(ops.empty(shape), ops.empty(shape)) for _ in range(count))
