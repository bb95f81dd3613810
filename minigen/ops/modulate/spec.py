"""Specifications of adaLN's modulate and gate."""

from minigen.checking.spec import LONG_ROWS, Spec, absolute, floats, linear_in_each
from minigen.ops.modulate import reference


def draw_modulate(draw):
    """Draw x (b n d), shift and scale (b 1 d)."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    shift, scale = floats(seed + 1, b, 1, d), floats(seed + 2, b, 1, d)
    return {"x": floats(seed, b, n, d), "shift": shift, "scale": scale}


def draw_gate(draw):
    """Draw x (b n d), weight (b 1 d)."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    return {"x": floats(seed, b, n, d), "weight": floats(seed + 1, b, 1, d)}


def modulate_magnitude(x, shift, scale):
    """Return |x| (1 + |scale|) + |shift|: all terms counted as positive."""
    return reference.modulate(**absolute({"x": x, "shift": shift, "scale": scale}))


SPECS = (
    Spec(
        "modulate",
        draw_modulate,
        modulate_magnitude,
        batched=("x", "shift", "scale"),
        routes=LONG_ROWS,
    ),
    Spec(
        "gate",
        draw_gate,
        linear_in_each(reference.gate),
        batched=("x", "weight"),
        routes=LONG_ROWS,
    ),
)
