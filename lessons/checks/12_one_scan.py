"""How the exercises of lesson 12 are checked: by loops, and by counting joins."""

import math

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen.ops.ssd.reference import segment_sums


def one_step(first, then):
    """Return a and b of a step by what two steps make of h = 1 and of h = 0."""
    start, end = first[1], first[0] + first[1]
    start, end = (then[0] * h + then[1] for h in (start, end))
    return then[0] * first[0], start


def sizes(first, then):
    """Return the magnitude of the larger of both results."""
    (a, b), (c, d) = ((abs(x) for x in step) for step in (first, then))
    return (c * (a + b) + d).max()


def in_rounds(scan, a, b):
    """h is that of a loop, in as few rounds as doubling takes."""
    calls = []

    def join(first, then):
        calls.append(len(then[0]))
        return then[0] * first[0], then[0] * first[1] + then[1]

    found, h = scan(a, b, join), 0.0
    if np.shape(found) != np.shape(a):
        return f"h has the shape {np.shape(found)}, not {np.shape(a)}"
    for t, (decay, added) in enumerate(zip(a, b, strict=True)):
        h = decay * h + added
        if abs(found[t] - h) > 1e-12 * (1 + abs(b).sum()):
            return f"h[{t}] is {found[t]}, and a loop gives {h}"
    allowed = math.ceil(math.log2(len(a)))
    if len(calls) > allowed:
        return f"join was called {len(calls)} times, and {allowed} are enough"
    if len(calls) < allowed:
        return f"join was called {len(calls)} times only: the rest was no join"


def of_segments(e):
    """Return the exponentials of what `segment_sums` gives in float64."""
    return np.exp(segment_sums(e[None].astype(float))[0])


def rounded(e):
    """Return how far rounding may move L, over eps: exp multiplies the error of a sum
    by L, and the sum has as many terms as the segment."""
    sums = np.maximum(segment_sums(e[None].astype(float))[0], -1e3)
    return np.exp(sums) * (1 + len(e) * abs(sums))


def below(case, *names):
    """Return a case in which these arrays lie between 0 and 1."""
    return {k: np.exp(-abs(v)) if k in names else v for k, v in case.items()}


STEPS = shaped({"a": "2 n", "b": "2 n"}).map(
    lambda case: {
        name: (case["a"][i], case["b"][i]) for i, name in enumerate(("first", "then"))
    }
)
few = st.integers(1, 40)
TOKENS = shaped({"a": "n", "b": "n"}, n=few).map(
    lambda case: {k: v.astype(np.float64) for k, v in below(case, "a").items()}
)
EXPONENTS = shaped({"e": "n"}, n=st.integers(1, 20)).map(
    lambda case: {"e": -abs(case["e"])}
)
EXERCISES = [
    Exercise("join", STEPS, expected=one_step, tolerance=rounding(sizes)),
    Exercise("scan", TOKENS, law=in_rounds),
    Exercise(
        "decay_matrix", EXPONENTS, expected=of_segments, tolerance=rounding(rounded)
    ),
]
