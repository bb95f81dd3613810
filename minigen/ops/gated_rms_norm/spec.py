"""Specifications of the gated norms of Mamba-2."""

import numpy as np

from minigen.checking.spec import FLUSHED, SCALES, Spec, floats, in_float64
from minigen.ops.gated_rms_norm import reference


def draw_gated_rms_norm(draw):
    """Draw x and z (b n d), w (d), r groups of channels, eps; at times large gates."""
    b, n, c, r = draw.sizes("bncr")
    dtype, seed, scale = draw.dtype(), draw.seed(), draw.among(*SCALES)
    x, z = floats(seed, b, n, r * c), floats(seed + 1, b, n, r * c, scale=scale)
    return {"x": x, "z": z, "w": floats(seed, r * c, dtype=dtype), "r": r, "eps": 1e-5}


def gated_magnitude(function, x, z, w, r, eps):
    """Return |result| for the gate and again for the norm, whose squares do not cancel;
    and what flushed exponentials cost."""
    x, z, w = in_float64(x, z, w)
    # where a whole group vanishes, what is left is divided by no more than sqrt(eps)
    flushed = FLUSHED * abs(x * z * w) / np.sqrt(eps)
    return 2 * abs(function(x, z, w, r, eps)) + flushed


def gate_rms_norm_magnitude(x, z, w, r, eps):
    """Return the magnitude of gate_rms_norm."""
    return gated_magnitude(reference.gate_rms_norm, x, z, w, r, eps)


def rms_norm_gate_magnitude(x, z, w, r, eps):
    """Return the magnitude of rms_norm_gate."""
    return gated_magnitude(reference.rms_norm_gate, x, z, w, r, eps)


SPECS = (
    Spec(
        "gate_rms_norm",
        draw_gated_rms_norm,
        gate_rms_norm_magnitude,
        batched=("x", "z"),
        axis=1,
        routes=({"c": 300, "r": 2},),
    ),
    Spec(
        "rms_norm_gate",
        draw_gated_rms_norm,
        rms_norm_gate_magnitude,
        batched=("x", "z"),
        axis=1,
        routes=({"c": 300, "r": 2},),
    ),
)
