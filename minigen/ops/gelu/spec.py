"""Specifications of gelu, exact and by tanh."""

import numpy as np

from minigen.checking.spec import LONG_ROWS, SCALES, Spec, floats


def draw_gelu(draw):
    """Draw x (b n d), at times so large that a power of it is zero."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    return {"x": floats(seed, b, n, d, scale=draw.among(*SCALES))}


def gelu_magnitude(x):
    """Return |x|: x and x erf or x tanh cancel where x is below zero."""
    return abs(x.astype(np.float64))


SPECS = (
    Spec("gelu", draw_gelu, gelu_magnitude, batched=("x",), axis=1, routes=LONG_ROWS),
    Spec(
        "gelu_tanh", draw_gelu, gelu_magnitude, batched=("x",), axis=1, routes=LONG_ROWS
    ),
)
