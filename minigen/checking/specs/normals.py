"""Specifications of normal distributions, of diffusion, and of MAR's pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec
from minigen.checking.strategies import floats, seeds
from minigen.ops.normal.reference import HIGHEST, LOWEST

SPREADS = st.sampled_from((0.1, 1.0, 9.0))


@st.composite
def draw_split_moments(draw, sizes):
    """Draw moments (b y x 2c), some of them beyond both limits."""
    b, y, x, c = (draw(getattr(sizes, letter)) for letter in "byxc")
    return {"moments": floats(draw(seeds), b, y, x, 2 * c, scale=20.0)}


@st.composite
def draw_normals(draw, sizes):
    """Draw mean and log_variance (b n c), within the limits."""
    b, n, c, seed = (*(draw(getattr(sizes, s)) for s in "bnc"), draw(seeds))
    scale = draw(SPREADS)
    mean, v = (floats(seed + i, b, n, c, scale=scale) for i in range(2))
    return {"mean": mean, "log_variance": np.clip(v, LOWEST, HIGHEST)}


@st.composite
def draw_sample_normal(draw, sizes):
    """Draw mean, log_variance and noise (b n c)."""
    case = draw(draw_normals(sizes))
    return {**case, "noise": floats(draw(seeds), *case["mean"].shape)}


@st.composite
def draw_normal_nll(draw, sizes):
    """Draw x, mean and log_variance (b n c)."""
    case = draw(draw_normals(sizes))
    x = floats(draw(seeds), *case["mean"].shape, scale=draw(SPREADS))
    return {"x": x, **case}


@st.composite
def draw_reverse_step(draw, sizes):
    """Draw x, noise, between (b n c), and the four numbers of a step."""
    b, n, c, seed = (*(draw(getattr(sizes, s)) for s in "bnc"), draw(seeds))
    names = "x", "noise", "between"
    case = {name: floats(seed + i, b, n, c) for i, name in enumerate(names)}
    numbers = {"of_x": 1.25, "of_noise": -0.75, "lowest": -6.5, "highest": -1.5}
    return case | numbers


@st.composite
def draw_to_rounded_pixels(draw, sizes):
    """Draw x (b y x c), some of it beyond both ends, some between two greys."""
    b, y, x, c = (draw(getattr(sizes, letter)) for letter in "byxc")
    return {"x": floats(draw(seeds), b, y, x, c)}


def sample_normal_magnitude(mean, log_variance, noise):
    """Return |mean| + deviation |noise|."""
    mean, log_variance, noise = _wide(mean, log_variance, noise)
    return abs(mean) + np.exp(log_variance / 2) * abs(noise)


def normal_kl_magnitude(mean, log_variance):
    """Return half the sum of all terms, none of them negative."""
    mean, log_variance = _wide(mean, log_variance)
    terms = mean * mean + np.exp(log_variance) + 1 + abs(log_variance)
    return terms.reshape(len(mean), -1).sum(1) / 2


def normal_nll_magnitude(x, mean, log_variance):
    """Return half the sum of all terms, none of them negative."""
    x, mean, log_variance = _wide(x, mean, log_variance)
    terms = np.log(2 * np.pi) + abs(log_variance)
    terms = terms + (x - mean) ** 2 * np.exp(-log_variance)
    return terms.reshape(len(x), -1).sum(1) / 2


def reverse_step_magnitude(x, noise, between, of_x, of_noise, lowest, highest):
    """Return the magnitudes of the mean and of the log-variance: no term cancels."""
    x, noise, between = (abs(each) for each in _wide(x, noise, between))
    share = (between + 1) / 2
    mean = abs(of_x) * x + abs(of_noise) * noise
    return mean, share * abs(highest) + (1 + share) * abs(lowest)


def _wide(*arrays):
    return [each.astype(np.float64) for each in arrays]


def spec(op, name, draw, magnitude=None, company=(), axis=0, **routes):
    """Return a specification; routes: sizes of a case of several blocks."""
    return Spec(op, name, draw, magnitude, None, company, axis, (), (routes,))


# several blocks, or threads that stride: there are 256 of them
SEVERAL = {"b": 1, "n": 33, "c": 33}

SPECS = (
    spec(
        "normal",
        "split_moments",
        draw_split_moments,
        company=("moments",),
        y=4,
        x=4,
        c=33,
    ),
    spec(
        "normal",
        "sample_normal",
        draw_sample_normal,
        sample_normal_magnitude,
        ("mean", "log_variance", "noise"),
        **SEVERAL,
    ),
    spec(
        "normal",
        "normal_kl",
        draw_normals,
        normal_kl_magnitude,
        ("mean", "log_variance"),
        **SEVERAL,
    ),
    spec(
        "normal",
        "normal_nll",
        draw_normal_nll,
        normal_nll_magnitude,
        ("x", "mean", "log_variance"),
        **SEVERAL,
    ),
    spec(
        "reverse_step",
        "reverse_step",
        draw_reverse_step,
        reverse_step_magnitude,
        ("x", "noise", "between"),
        **SEVERAL,
    ),
    spec(
        "rounded_pixels",
        "to_rounded_pixels",
        draw_to_rounded_pixels,
        company=("x",),
        y=4,
        x=4,
        c=33,
    ),
)
