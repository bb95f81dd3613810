"""Specifications of silu, alone and gated."""

import numpy as np

from minigen.checking.spec import FLUSHED, LONG_ROWS, SCALES, Spec, floats
from minigen.ops.silu import reference


def draw_silu(draw):
    """Draw x (b n d), at times so large that exp overflows."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    return {"x": floats(seed, b, n, d, scale=draw.among(*SCALES))}


def draw_gated_silu(draw):
    """Draw x (b n 2f), at times so large that exp overflows."""
    b, n, f, seed = *draw.sizes("bnf"), draw.seed()
    return {"x": floats(seed, b, n, 2 * f, scale=draw.among(*SCALES))}


def silu_magnitude(x):
    """Return |silu(x)|: nothing is subtracted; exp(-|x|) may be flushed to zero."""
    x = x.astype(np.float64)
    return abs(reference.silu(x)) + FLUSHED * abs(x)


def gated_silu_magnitude(x):
    """Return |value| times the magnitude of silu(gate)."""
    value, gate = np.split(x.astype(np.float64), 2, axis=-1)
    return abs(value) * silu_magnitude(gate)


SPECS = (
    Spec("silu", draw_silu, silu_magnitude, batched=("x",), axis=1, routes=LONG_ROWS),
    Spec(
        "gated_silu",
        draw_gated_silu,
        gated_silu_magnitude,
        batched=("x",),
        axis=1,
        routes=({"f": 300},),
    ),
)
