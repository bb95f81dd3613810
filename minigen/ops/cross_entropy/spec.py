"""Specification of cross_entropy."""

import numpy as np

from minigen.checking.spec import Spec, floats, integers, wide


def draw_cross_entropy(draw):
    """Draw logits (b n v), at times so large that exp overflows, and targets (b n)."""
    b, n, v, seed = *draw.sizes("bnv"), draw.seed()
    logits = floats(seed, b, n, v, scale=draw.among(3.0, 100.0))
    return {"logits": logits, "targets": integers(seed, v, b, n)}


def cross_entropy_magnitude(logits, targets):
    """Return 1 + 2 mean max |logits|.

    An eps of each logit moves the loss by its probability, and by one at the target.
    """
    return 1.0 + 2 * np.mean(wide({"x": abs(logits)})["x"].max(axis=-1))


SPECS = (
    Spec(
        "cross_entropy",
        draw_cross_entropy,
        cross_entropy_magnitude,
        routes=({"v": 300},),
    ),
)
