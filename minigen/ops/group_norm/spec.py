"""Specifications of group_norm, alone and with swish."""

import numpy as np

from minigen.checking.spec import Spec, floats


def draw_group_norm(draw):
    """Draw x (b y x c), at times far from zero, w and bias (c), r, eps."""
    b, y, x, r = draw.sizes("byxr")
    c, dtype = r * draw.among(1, 2, 3, 4, 33), draw.dtype()
    offset, seed = draw.among(0.0, 30.0), draw.seed()
    images = floats(seed, b, y, x, c) + np.float32(offset)
    w, bias = floats(seed + 1, c, dtype=dtype), floats(seed + 2, c, dtype=dtype)
    return {"x": images, "w": w, "bias": bias, "r": r, "eps": 1e-6}


def group_norm_magnitude(x, w, bias, r, eps):
    """Return how far one eps of each input moves an output.

    Through the number itself, through the mean of its group, and the deviation.
    """
    x, w, bias = (a.astype(np.float64) for a in (x, w, bias))
    g = x.reshape(len(x), -1, r, x.shape[-1] // r)

    def mean(a):
        return a.mean((1, 3), keepdims=True)

    inverse = 1 / np.sqrt(mean((g - mean(g)) ** 2) + eps)
    through_mean = (abs(g) + mean(abs(g))) * inverse
    z = abs(g - mean(g)) * inverse
    through_deviation = z * np.sqrt(mean(g * g)) * inverse
    return (through_mean + through_deviation).reshape(x.shape) * abs(w) + abs(bias)


def group_norm_swish_magnitude(x, w, bias, r, eps):
    """Return that of group_norm times 1.1, the steepest slope of swish."""
    return 1.1 * group_norm_magnitude(x, w, bias, r, eps)


SPECS = (
    Spec(
        "group_norm",
        draw_group_norm,
        group_norm_magnitude,
        batched=("x",),
        routes=({"b": 1, "y": 6, "x": 7, "r": 130},),
    ),
    Spec(
        "group_norm_swish", draw_group_norm, group_norm_swish_magnitude, batched=("x",)
    ),
)
