"""How the exercises of lesson 10 are checked: a step is that of `ssd`."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen.ops.ssd.reference import ssd

tenths = st.integers(1, 30).map(lambda k: k / 10)


def grown(state, layers, width):
    """Return the first token from which on a cache is larger, by adding tokens up."""
    token = cache = 0
    while cache <= state:
        token, cache = token + 1, cache + layers * (4 * width + 4 * width)
    return token


def stepped(H, A, delta, x, B, C, D):
    """Return what `ssd` makes of a sequence of one token."""
    p, s = H.shape
    given = x.reshape(1, 1, 1, p), np.float32([[[delta]]]), np.log(np.float32([-A]))
    given += B.reshape(1, 1, 1, s), C.reshape(1, 1, 1, s), np.float32([D])
    y, state = ssd(*given, H.reshape(1, 1, p, s).copy())
    return y.reshape(p), state.reshape(p, s)


def size(H, A, delta, x, B, C, D):
    """Return the largest sum of absolute values of terms in `step`."""
    added = np.outer(x, B) * delta
    return ((abs(H) + abs(added)) @ abs(C) + abs(D * x)).max() + abs(H + added).max()


def remaining(decays):
    """Return the product of all decays behind each token, one by one in float64."""
    n = len(decays)
    return np.array([decays[t + 1 :].astype(float).prod(0) for t in range(n)])


HEAD = {"H": "p s", "A": tenths.map(lambda a: -a), "delta": tenths}
HEAD |= {"x": "p", "B": "s", "C": "s", "D": tenths}
SHARES = shaped({"decays": "n h"}).map(
    lambda case: {"decays": np.exp(-abs(case["decays"]))}
)
EXERCISES = [
    Exercise(
        "larger_from",
        {
            "state": st.integers(1, 10_000),
            "layers": st.integers(1, 9),
            "width": st.integers(1, 64),
        },
        expected=grown,
    ),
    Exercise("step", shaped(HEAD), expected=stepped, tolerance=rounding(size)),
    # a product of n numbers is rounded n times
    Exercise(
        "left",
        SHARES,
        expected=remaining,
        tolerance=rounding(lambda decays: len(decays) * remaining(decays)),
    ),
]
