"""Specification of rms_norm."""

from minigen.checking.spec import LONG_ROWS, Spec, absolute, floats
from minigen.ops.rms_norm import reference


def draw_rms_norm(draw):
    """Draw x (b n d), w (d), eps; x so small at times that eps decides."""
    b, n, d = draw.sizes("bnd")
    dtype, scale = draw.dtype(), draw.among(1.0, 1e-3)
    eps, seed = draw.among(1e-5, 1e-6), draw.seed()
    x, w = floats(seed, b, n, d, scale=scale), floats(seed, d, dtype=dtype)
    return {"x": x, "w": w, "eps": eps}


def rms_norm_magnitude(x, w, eps):
    """Return |result|: squares do not cancel."""
    return reference.rms_norm(**absolute({"x": x, "w": w}), eps=eps)


SPECS = (
    Spec(
        "rms_norm",
        draw_rms_norm,
        rms_norm_magnitude,
        batched=("x",),
        axis=1,
        routes=LONG_ROWS,
    ),
)
