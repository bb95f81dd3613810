"""How the exercises of lesson 07 are checked: by the attention of the reference."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding
from minigen.ops.attention import reference


@st.composite
def caches(draw):
    """Queries (m e), keys and values (n e) with m <= n, of small whole numbers."""
    m = draw(st.integers(1, 4))
    n, e = m + draw(st.integers(0, 3)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    sizes = {"q": (m, e), "k": (n, e), "v": (n, e)}
    return {name: np.float32(rng.integers(-4, 5, s)) for name, s in sizes.items()}


def may_see(cached, new, causal):
    seen = np.ones((new, cached + new), bool)
    for t in range(new):
        seen[t, cached + t + 1 :] = not causal
    return seen


def attend(q, k, v):
    # one image, one head
    q, k, v = (x[None, :, None].astype(np.float64) for x in (q, k, v))
    return reference.attention_causal(q, k, v, k.shape[1])[0, :, 0]


def magnitude(q, k, v):
    # a weight is off by as much as its score, a mean of values by as much of their size
    return abs(v).max(axis=0) * (1 + (abs(q) @ abs(k).T).max())


EXERCISES = [
    Exercise(
        "may_see",
        {
            "cached": st.integers(0, 4),
            "new": st.integers(1, 4),
            "causal": st.booleans(),
        },
        may_see,
    ),
    Exercise("attend", caches(), attend, rounding(magnitude)),
    Exercise(
        "first_of_steps",
        {"counts": st.lists(st.integers(1, 9), min_size=1, max_size=6)},
        lambda counts: list(np.cumsum([0, *counts[:-1]])),
    ),
]
