"""How the exercises of lesson 01 are checked."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding
from minigen import backends
from minigen.checking.strategies import seeds

DISTANCES = backends.table("numpy").distances


@st.composite
def vectors(draw):
    """Return vectors and a codebook of small whole numbers, so that sums are exact."""
    n, v, d = (draw(st.integers(1, most)) for most in (3, 5, 3))
    random = np.random.default_rng(draw(seeds))
    shapes = {"vectors": (n, d), "codebook": (v, d)}
    numbers = {name: random.integers(-4, 5, size) for name, size in shapes.items()}
    return {name: x.astype(np.float32) for name, x in numbers.items()}


@st.composite
def grids(draw):
    """Return the tokens (b n) of some images, and the number of codes."""
    b, n, codes = (draw(st.integers(1, most)) for most in (4, 3, 4))
    random = np.random.default_rng(draw(seeds))
    return {"tokens": random.integers(0, codes, (b, n)), "codes": codes}


def entropy(tokens):
    _, counts = np.unique(tokens, return_counts=True)
    p = counts / counts.sum()
    return -(p * np.log2(p)).sum()


BITS = rounding(lambda tokens, codes: 1 + np.log2(tokens.size))
EXERCISES = [
    Exercise(
        "nearest",
        vectors(),
        expected=lambda vectors, codebook: DISTANCES(vectors, codebook).argmin(-1),
    ),
    Exercise(
        "bits_by_frequency",
        grids(),
        expected=lambda tokens, codes: entropy(tokens),
        tolerance=BITS,
    ),
    Exercise(
        "bits_by_place",
        grids(),
        expected=lambda tokens, codes: np.mean([entropy(each) for each in tokens.T]),
        tolerance=BITS,
    ),
]
