"""How the exercises of lesson 00 are checked."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding
from minigen import backends
from minigen.checking.strategies import seeds

NUMPY = backends.table("numpy")


@st.composite
def drawing(draw):
    """Return probabilities p (m v), multiples of 1 / 64 whose sums are exact, and u."""
    m, v = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    random = np.random.default_rng(draw(seeds))
    p = random.multinomial(64, np.full(v, 1 / v), size=m) / np.float32(64)
    return {"p": p, "u": random.integers(0, 128, m) / np.float32(128)}


@st.composite
def drawn(draw):
    """Return probabilities p (m v), and tokens (m) that may be drawn from them."""
    case = draw(drawing())
    return {"p": case["p"], "tokens": NUMPY.draw(case["p"][None], case["u"][None])[0]}


@st.composite
def canvases(draw):
    """Return canvases (s n) of steps that draw each position once, one at least."""
    steps = draw(st.integers(1, 4))
    n = draw(st.integers(steps, 6))
    random = np.random.default_rng(draw(seeds))
    at = random.permutation(np.arange(n) % steps)
    tokens = random.integers(0, 64, n)
    return {"canvases": np.where(at <= np.arange(steps)[:, None], tokens, -1)}


def bits(p, tokens):
    picked = np.take_along_axis(p.astype(np.float64), tokens[:, None], axis=1)
    return -np.log2(picked[:, 0])


EXERCISES = [
    Exercise(
        "surprise",
        drawn(),
        expected=bits,
        tolerance=rounding(lambda p, tokens: 1 + bits(p, tokens)),
    ),
    Exercise(
        "drawn_at",
        canvases(),
        expected=lambda canvases: (canvases >= 0).argmax(axis=0),
    ),
    Exercise(
        "draw",
        drawing(),
        expected=lambda p, u: NUMPY.draw(p[None], u[None])[0],
    ),
]
