"""How the exercises of lesson 09 are checked: by the ops of the reference."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise
from minigen.ops.draw.reference import keep, probabilities
from minigen.ops.guide.reference import guide

EPS = np.finfo(np.float64).eps

parts = st.lists(st.integers(1, 20), min_size=1, max_size=5, unique=True)
"""Probabilities as numbers of parts, no two the same."""


def shares(counts):
    return np.array(counts) / sum(counts)


@st.composite
def pairs(draw):
    """Probabilities with a class and without, and a weight."""
    p = shares(draw(parts))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weight = draw(st.sampled_from([1.0, 0.0, 2.0, 4.5, -1.0]))
    other = shares(rng.integers(1, 20, len(p)))
    return {"p_class": p, "p_none": other, "weight": weight}


@st.composite
def cuts(draw):
    """Probabilities, and a share between two sums of them, so that rounding is none."""
    counts = draw(parts)
    share = (draw(st.integers(0, sum(counts) - 1)) + 0.5) / sum(counts)
    return {"p": shares(counts), "top_p": share}


def guided(p_class, p_none, weight):
    logits = np.log([[p_class], [p_none]])
    return probabilities(guide(logits, weight), 1.0, 0, 1.0)[0, 0]


def hotter(p, temperature):
    return probabilities(np.log(p)[None, None], temperature, 0, 1.0)[0, 0]


def nucleus(p, top_p):
    return keep(np.log(p)[None, None], 0, top_p)[0, 0]


def of_powers(factor, *given):
    """A power of a number is off by as much as its exponent and its logarithm allow."""
    return 16 * EPS * (1 + factor * max(abs(np.log(p)).max() for p in given))


EXERCISES = [
    Exercise(
        "guided",
        pairs(),
        guided,
        lambda p_class, p_none, weight: of_powers(2 * abs(weight) + 1, p_class, p_none),
    ),
    Exercise(
        "hotter",
        {"p": parts.map(shares), "temperature": st.sampled_from([1.0, 2.0, 0.5, 0.0])},
        hotter,
        lambda p, temperature: of_powers(2, p),
    ),
    Exercise("nucleus", cuts(), nucleus),
]
