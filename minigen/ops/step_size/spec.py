"""Specification of step_size."""

import numpy as np

from minigen.checking.spec import FLUSHED, SCALES, Spec, floats


def draw_step_size(draw):
    """Draw x (b n h), bias (h), and limits, of which the highest may be none."""
    b, n, h, seed = *draw.sizes("bnh"), draw.seed()
    lowest, highest = draw.among((0.0, np.inf), (0.05, 0.2))
    x = floats(seed, b, n, h, scale=draw.among(*SCALES))
    bias = floats(seed, h, dtype=draw.dtype())
    return {"x": x, "bias": bias, "lowest": lowest, "highest": highest}


def step_size_magnitude(x, bias, lowest, highest):
    """Return softplus(v) + sigmoid(v) (|x| + |bias|), with v = x + bias.

    The derivative of the softplus is the sigmoid: it carries on the rounding of v.
    """
    x, bias = x.astype(np.float64), bias.astype(np.float64)
    v = x + bias
    sigmoid = np.exp(-np.logaddexp(0, -v))
    # within limits, a result moves by no more than it would without; lowest is rounded
    return np.logaddexp(0, v) + sigmoid * (abs(x) + abs(bias)) + FLUSHED + lowest


SPECS = (
    Spec(
        "step_size",
        draw_step_size,
        step_size_magnitude,
        batched=("x",),
        axis=1,
        routes=({"b": 2, "n": 150, "h": 2},),
    ),
)
