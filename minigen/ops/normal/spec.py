"""Specifications of normal distributions."""

import numpy as np

from minigen.checking.spec import Spec, floats, in_float64
from minigen.ops.normal.reference import HIGHEST, LOWEST

SPREADS = (0.1, 1.0, 9.0)


def draw_split_moments(draw):
    """Draw moments (b y x 2c), some of them beyond both limits."""
    b, y, x, c = draw.sizes("byxc")
    return {"moments": floats(draw.seed(), b, y, x, 2 * c, scale=20.0)}


def draw_normals(draw):
    """Draw mean and log_variance (b n c), within the limits."""
    b, n, c, seed = *draw.sizes("bnc"), draw.seed()
    scale = draw.among(*SPREADS)
    mean, v = (floats(seed + i, b, n, c, scale=scale) for i in range(2))
    return {"mean": mean, "log_variance": np.clip(v, LOWEST, HIGHEST)}


def draw_sample_normal(draw):
    """Draw mean, log_variance and noise (b n c)."""
    case = draw_normals(draw)
    return {**case, "noise": floats(draw.seed(), *case["mean"].shape)}


def draw_normal_nll(draw):
    """Draw x, mean and log_variance (b n c)."""
    case = draw_normals(draw)
    x = floats(draw.seed(), *case["mean"].shape, scale=draw.among(*SPREADS))
    return {"x": x, **case}


def sample_normal_magnitude(mean, log_variance, noise):
    """Return |mean| + deviation |noise|."""
    mean, log_variance, noise = in_float64(mean, log_variance, noise)
    return abs(mean) + np.exp(log_variance / 2) * abs(noise)


def normal_kl_magnitude(mean, log_variance):
    """Return half the sum of all terms, none of them negative."""
    mean, log_variance = in_float64(mean, log_variance)
    terms = mean * mean + np.exp(log_variance) + 1 + abs(log_variance)
    return terms.reshape(len(mean), -1).sum(1) / 2


def normal_nll_magnitude(x, mean, log_variance):
    """Return half the sum of all terms, none of them negative."""
    x, mean, log_variance = in_float64(x, mean, log_variance)
    terms = np.log(2 * np.pi) + abs(log_variance)
    terms = terms + (x - mean) ** 2 * np.exp(-log_variance)
    return terms.reshape(len(x), -1).sum(1) / 2


# several blocks, or threads that stride: there are 256 of them
ROUTES = ({"b": 2, "n": 33, "c": 33},)

SPECS = (
    Spec(
        "split_moments",
        draw_split_moments,
        batched=("moments",),
        routes=({"y": 4, "x": 4, "c": 33},),
    ),
    Spec(
        "sample_normal",
        draw_sample_normal,
        sample_normal_magnitude,
        batched=("mean", "log_variance", "noise"),
        routes=ROUTES,
    ),
    Spec(
        "normal_kl",
        draw_normals,
        normal_kl_magnitude,
        batched=("mean", "log_variance"),
        routes=ROUTES,
    ),
    Spec(
        "normal_nll",
        draw_normal_nll,
        normal_nll_magnitude,
        batched=("x", "mean", "log_variance"),
        routes=ROUTES,
    ),
)
