"""Specification of swiglu."""

import numpy as np

from minigen.checking.spec import Spec, floats
from minigen.checking.tolerance import EPS, TINY
from minigen.ops.swiglu import reference


def draw_swiglu(draw):
    """Draw gate and up (b n f); gates so large at times that exp overflows."""
    b, n, f, seed = *draw.sizes("bnf"), draw.seed()
    gate = floats(seed, b, n, f, scale=draw.among(5.0, 100.0))
    return {"gate": gate, "up": floats(seed + 1, b, n, f)}


def swiglu_magnitude(gate, up):
    """Return |silu(gate) up|: nothing is subtracted.

    Where exp(-|gate|) is below the smallest normal number it may be flushed to zero.
    """
    gate, up = gate.astype(np.float64), up.astype(np.float64)
    return abs(reference.swiglu(gate, up)) + TINY / EPS * abs(gate * up)


SPECS = (
    Spec(
        "swiglu",
        draw_swiglu,
        swiglu_magnitude,
        batched=("gate", "up"),
        axis=1,
        routes=({"f": 300},),
    ),
)
