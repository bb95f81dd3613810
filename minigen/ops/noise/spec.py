"""Specifications of random numbers by counters."""

import numpy as np

from minigen.checking.spec import Spec, integers
from minigen.checking.tolerance import EPS
from minigen.ops.noise import reference


def draw_noise(draw):
    """Draw key (2), images and positions (b), step, first and m: any counters."""
    b, m, seed = *draw.sizes("bm"), draw.seed()
    return {
        "key": integers(seed, 2**32, 2).astype(np.uint32),
        "images": integers(seed + 1, 2**32, b),
        "positions": integers(seed + 2, 2**20, b),
        "step": draw.among(0, 1, 255),
        # words have 32 bits: at the end of them they begin anew
        "first": draw.among(0, 1, 2**32 - 1),
        "m": m,
    }


def normals_at_magnitude(key, images, positions, step, first, m):
    """Return |number|, and eps of its length: a cosine of zero is the reference's too
    only as nearly as float64 knows pi."""
    given = key, images, positions, step, first, m
    _, u, _, _ = reference._words(*given)
    length = np.sqrt(-2 * np.log(reference._unit(u).astype(np.float64)))
    return abs(reference.normals_at(*given).astype(np.float64)) + EPS * length


SPECS = (
    Spec(
        "uniforms_at", draw_noise, batched=("images", "positions"), routes=({"m": 130},)
    ),
    Spec(
        "normals_at",
        draw_noise,
        normals_at_magnitude,
        batched=("images", "positions"),
        routes=({"m": 130},),
    ),
)
