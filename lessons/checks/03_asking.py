"""How the exercises of lesson 03 are checked."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen import backends
from minigen.checking.strategies import seeds
from minigen.families import PRESETS
from minigen.families.arpg import ArpgConfig
from minigen.models import arpg
from minigen.ops.attention.reference import softmax

NUMPY = backends.table("numpy")


def weighted(scores, values):
    return softmax(scores.astype(np.float64)) @ values


def magnitude(scores, values):
    # a score that is rounded moves all shares
    return (1 + abs(scores).max()) * len(scores) * abs(values).max(axis=0)


def held(layers, width, tokens):
    """Return the bytes of a cache of the package."""
    config = ArpgConfig(width=width, layers=layers, heads=width // 4)
    cache = arpg.new_cache(NUMPY, config, 1, tokens)
    return sum(c.keys.nbytes + c.values.nbytes for c in (*cache.layers, cache.shared))


def rows(order):
    config = PRESETS["arpg-mnist"]
    _, read, asked = arpg.arrange(
        config, np.zeros((1, order.size), int), [0], order[None]
    )
    return read[0], asked[0]


HALVES = st.integers(1, 4).map(lambda half: 2 * half)
ORDERS = st.builds(
    lambda n, seed: np.random.default_rng(seed).permutation(n), st.integers(1, 9), seeds
)
EXERCISES = [
    Exercise(
        "heard",
        shaped({"scores": "n", "values": "n d"}, n=st.integers(1, 5)),
        weighted,
        rounding(magnitude),
    ),
    Exercise(
        "cache_bytes",
        {
            "layers": HALVES,
            "width": st.integers(1, 16).map(lambda n: 4 * n),
            "tokens": st.integers(1, 9),
        },
        expected=held,
    ),
    Exercise("training_rows", {"order": ORDERS}, expected=rows),
]
