"""How the exercises of lesson 15 are checked: by the steps that MAR's head takes."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen.backends import table
from minigen.models import diffusion_head

NUMBERS = {}
"""What `Schedule.step` says of x and of the noise, by both shares."""

for count in (2, 5, 50):
    plan = diffusion_head.schedule(count)
    for i in range(1, count):
        shares = plan.alphas_cumprod[i], plan.alphas_cumprod[i - 1]
        NUMBERS[tuple(map(float, shares))] = plan.step(i)[:2]


def by_the_schedule(x, noise, a, before):
    """Return the mean as the model computes it."""
    of_x, of_noise = NUMBERS[a, before]
    return of_x * x + of_noise * noise


def in_float64(x, noise, a, before):
    """Return how far rounding may move it: both terms of the predicted token cancel,
    and the differences of shares lose digits."""
    of_x, of_noise = NUMBERS[a, before]
    lost = 1 / min(1 - a, 1 - before, before - a) + 1 / a
    return 2.0**-48 * lost * (abs(of_x * x) + abs(of_noise * noise) + abs(x))


def by_the_head(noise, between, weight):
    """Return what the model makes of both halves."""
    return diffusion_head.guided(table("numpy"), noise, between, weight)


def reach(noise, between, weight):
    """Return the sum of the absolute values of all terms."""
    return (1 + 2 * abs(weight)) * abs(noise).max()


@st.composite
def passes(draw):
    """Return noisy features, and the shares of a pass."""
    case = draw(shaped({"x": "n", "noise": "n"}, n=st.integers(1, 5)))
    a, before = draw(st.sampled_from(sorted(NUMBERS, reverse=True)))
    wide = {name: array.astype(np.float64) for name, array in case.items()}
    return {**wide, "a": a, "before": before}


@st.composite
def halves(draw):
    """Return noise and variances of an even number of rows."""
    rows = 2 * draw(st.integers(1, 3))
    weight = draw(st.integers(0, 50)) / 10
    few = {"c": st.integers(1, 4)}
    case = draw(shaped({k: f"{rows} 1 c" for k in ("noise", "between")}, **few))
    return {**case, "weight": weight}


EXERCISES = [
    Exercise("mean_before", passes(), by_the_schedule, in_float64),
    Exercise("guided", halves(), by_the_head, rounding(reach)),
]
