"""Specifications of layer_norm, with weights and without."""

import numpy as np

from minigen.checking.spec import LONG_ROWS, SCALES, Spec, floats, in_float64


def draw_layer_norm(draw):
    """Draw x (b n d), w and bias (d), eps; the mean is at times far from zero."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    dtype = draw.dtype()
    return {
        "x": around(seed, b, n, d, draw),
        "w": floats(seed + 1, d, dtype=dtype),
        "bias": floats(seed + 2, d, dtype=dtype),
        "eps": 1e-6,
    }


def draw_standardise(draw):
    """Draw x (b n d) and eps; the mean is at times far from zero."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    return {"x": around(seed, b, n, d, draw), "eps": 1e-6}


def around(seed, b, n, d, draw):
    """Return x (b n d) of a drawn size, around zero or around a number far from it."""
    mean = np.float32(draw.among(0, 50))
    return floats(seed, b, n, d, scale=draw.among(*SCALES)) + mean


def standardise_magnitude(x, eps):
    """Return s (|x| + mean|x|) + |z| (1 + m), with z the result and s its scale.

    The mean is off by what its terms add up to, and so is every difference from it; m,
    the root mean square of the first term, is by how much that moves the scale.
    """
    (x,) = in_float64(x)
    away = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((away * away).mean(-1, keepdims=True) + eps)
    spread = (abs(x) + abs(x).mean(-1, keepdims=True)) * scale
    moved = np.sqrt((spread * spread).mean(-1, keepdims=True))
    return spread + abs(away * scale) * (1 + moved)


def layer_norm_magnitude(x, w, bias, eps):
    """Return |w| times the magnitude of what is standardised, and |bias|."""
    w, bias = in_float64(w, bias)
    return standardise_magnitude(x, eps) * abs(w) + abs(bias)


SPECS = (
    Spec(
        "layer_norm",
        draw_layer_norm,
        layer_norm_magnitude,
        batched=("x",),
        axis=1,
        routes=LONG_ROWS,
    ),
    Spec(
        "standardise",
        draw_standardise,
        standardise_magnitude,
        batched=("x",),
        axis=1,
        routes=LONG_ROWS,
    ),
)
