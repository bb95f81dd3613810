"""Specification of check_finite."""

from minigen.checking.spec import Spec, floats


def draw_check_finite(draw):
    """Draw x (b n d), all of it finite."""
    b, n, d = draw.sizes("bnd")
    return {"x": floats(draw.seed(), b, n, d)}


SPECS = (Spec("check_finite", draw_check_finite, batched=("x",)),)
