"""How the exercises of lesson 02 are checked."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen import backends
from minigen.families.llamagen import GptConfig
from minigen.models import llamagen
from minigen.ops.attention.reference import softmax

NUMPY = backends.table("numpy")


def held(layers, key_heads, head_size, tokens):
    """Return the bytes of a cache of the package."""
    width = 2 * key_heads * head_size
    config = GptConfig(
        width=width, layers=layers, heads=2 * key_heads, key_heads=key_heads
    )
    cache = llamagen.new_cache(NUMPY, config, 1, tokens)
    return sum(c.keys.nbytes + c.values.nbytes for c in cache.layers)


def steps(q, k, v):
    """Attend with a cache, one token a step, in float64."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ k.T / np.sqrt(q.shape[1])
    rows = [softmax(scores[t, : t + 1]) @ v[: t + 1] for t in range(len(q))]
    return np.stack(rows)


def magnitude(q, k, v):
    # a score that is rounded moves all shares
    scores = abs(q) @ abs(k).T
    return (2 + 2 * scores.max()) * abs(v).max(axis=0) * len(q)


EXERCISES = [
    Exercise(
        "cache_bytes",
        {
            "layers": st.integers(1, 4),
            "key_heads": st.integers(1, 3),
            "head_size": st.sampled_from((4, 8, 12)),
            "tokens": st.integers(1, 9),
        },
        expected=held,
    ),
    Exercise(
        "one_pass",
        shaped({name: "n d" for name in "qkv"}, n=st.integers(1, 5)),
        steps,
        rounding(magnitude),
    ),
]
