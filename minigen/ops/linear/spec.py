"""Specification of linear: arguments of every size, and how far off it may be."""

import numpy as np
from ml_dtypes import bfloat16

from minigen.checking.spec import Spec, floats, linear_in_each
from minigen.ops.linear import reference


def draw_linear(draw):
    """Draw x (b n d) or (b y x d), w (f d), and at times bias (f), residual like x."""
    d, f, dtype, seed = *draw.sizes("df"), draw.dtype(), draw.seed()
    rows = *draw.sizes("b"), *draw.sizes(draw.among("n", "yx"))
    return {
        "x": floats(seed, *rows, d),
        "w": floats(seed, f, d, dtype=dtype),
        "bias": floats(seed + 1, f, dtype=dtype) if draw.given() else None,
        "residual": floats(seed + 2, *rows, f) if draw.given() else None,
    }


_ROWS = {"b": 1, "n": 66, "y": 11, "x": 6}
"""More than 64 rows an image, of a sequence or of pixels."""


SPECS = (
    Spec(
        "linear",
        draw_linear,
        linear_in_each(reference.linear),
        batched=("x", "residual"),
        axis=1,
        # columns that are a multiple of 16 bytes, and no such; few rows, and many
        routes=(
            {"b": 2, "n": 5, "d": 40},
            _ROWS | {"d": 17, "f": 3},
            _ROWS | {"d": 40, "f": 34},
            _ROWS | {"d": 24, "f": 3, "given": False, "dtypes": np.dtype(bfloat16)},
            {"residual": None},
            {"d": 40, "bias": None},
        ),
    ),
)
