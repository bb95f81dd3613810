"""Specification of add_rms_norm."""

from minigen.checking.spec import LONG_ROWS, Spec, floats, wide
from minigen.ops.add_rms_norm import reference


def draw_add_rms_norm(draw):
    """Draw x, residual (b n d), w (d), eps; x so small at times that eps decides."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    dtype, scale = draw.dtype(), draw.among(1.0, 1e-3)
    x, residual = (floats(seed + i, b, n, d, scale=scale) for i in range(2))
    return {
        "x": x,
        "residual": residual,
        "w": floats(seed, d, dtype=dtype),
        "eps": 1e-5,
    }


def add_rms_norm_magnitudes(x, residual, w, eps):
    """Return |y|, since squares do not cancel, and |x + residual|, rounded once."""
    given = wide({"x": x, "residual": residual, "w": w})
    return tuple(map(abs, reference.add_rms_norm(**given, eps=eps)))


SPECS = (
    Spec(
        "add_rms_norm",
        draw_add_rms_norm,
        add_rms_norm_magnitudes,
        batched=("x", "residual"),
        axis=1,
        routes=LONG_ROWS,
    ),
)
