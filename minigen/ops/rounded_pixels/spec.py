"""Specification of MAR's pixels."""

from minigen.checking.spec import Spec, floats


def draw_to_rounded_pixels(draw):
    """Draw x (b y x c), some of it beyond both ends, some between two greys."""
    b, y, x, c = draw.sizes("byxc")
    return {"x": floats(draw.seed(), b, y, x, c)}


SPECS = (
    Spec(
        "to_rounded_pixels",
        draw_to_rounded_pixels,
        batched=("x",),
        routes=({"y": 4, "x": 4, "c": 33},),
    ),
)
