"""Specification of guide."""

import numpy as np

from minigen.checking.spec import Spec, floats


def draw_guide(draw):
    """Draw logits (2b m v) and a weight."""
    b, m, v, seed = *draw.sizes("bmv"), draw.seed()
    weight = draw.among(1.5, -2.0, 0.0, 1.0, 7.0)
    return {"logits": floats(seed, 2 * b, m, v), "weight": weight}


def guide_magnitude(logits, weight):
    """Return |l_u| + (|l_c| + |l_u|) |weight|."""
    conditional, unconditional = np.split(abs(logits.astype(np.float64)), 2)
    return unconditional + (conditional + unconditional) * abs(weight)


SPECS = (Spec("guide", draw_guide, guide_magnitude, batched=("logits",), axis=1),)
