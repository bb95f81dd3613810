"""Specifications of arithmetic entry by entry: exact, since it is rounded once."""

from minigen.checking.spec import LONG_ROWS, Spec, floats


def draw_two(draw):
    """Draw x and y (b n d)."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    return {"x": floats(seed, b, n, d), "y": floats(seed + 1, b, n, d)}


def draw_scale(draw):
    """Draw x (b n d) and a factor, which float32 does not have exactly."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    factor = draw.among(0.2325, -3.1)
    return {"x": floats(seed, b, n, d), "factor": factor}


def draw_sqrt(draw):
    """Draw x (b n d), none of it negative."""
    b, n, d = draw.sizes("bnd")
    return {"x": abs(floats(draw.seed(), b, n, d))}


def _spec(name, draw, *batched):
    return Spec(name, draw, batched=batched, axis=1, routes=LONG_ROWS)


SPECS = (
    _spec("add", draw_two, "x", "y"),
    _spec("subtract", draw_two, "x", "y"),
    _spec("multiply", draw_two, "x", "y"),
    _spec("scale", draw_scale, "x"),
    _spec("sqrt", draw_sqrt, "x"),
)
