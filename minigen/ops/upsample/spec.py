"""Specification of upsample: exact, since it copies."""

from minigen.checking.spec import Spec, floats


def draw_upsample(draw):
    """Draw x (b y x c)."""
    b, y, x, c, seed = *draw.sizes("byxc"), draw.seed()
    return {"x": floats(seed, b, y, x, c)}


SPECS = (Spec("upsample", draw_upsample, batched=("x",)),)
