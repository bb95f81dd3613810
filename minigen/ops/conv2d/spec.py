"""Specifications of the convolutions."""

from minigen.checking.spec import Spec, floats, linear_in_each
from minigen.ops.conv2d import reference


def _spec(name, routes=()):
    def draw_conv2d(draw):
        b, y, x, c, f = draw.sizes("byxcf")
        dtype, seed = draw.dtype(), draw.seed()
        case = {
            "x": floats(seed, b, y, x, c),
            "w": floats(seed + 1, f, 3, 3, c, dtype=dtype),
            "bias": floats(seed + 2, f, dtype=dtype),
        }
        return case | ({"residual": floats(seed + 3, b, y, x, f)} if adds else {})

    adds = name.endswith("_add")
    magnitude = linear_in_each(getattr(reference, name))
    batched = ("x", "residual") if adds else ("x",)
    return Spec(name, draw_conv2d, magnitude, batched=batched, routes=routes)


SPECS = (
    _spec("conv3x3", routes=({"f": 3},)),
    _spec("conv3x3_add"),
    _spec("conv3x3_half"),
)
