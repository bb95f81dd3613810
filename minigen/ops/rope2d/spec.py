"""Specification of rope2d."""

import numpy as np

from minigen.checking.spec import Spec, floats, integers
from minigen.ops.rope2d import reference


def draw_rope2d(draw):
    """Draw x (b n h e), a table of a grid (t e/2 2), rows (b n)."""
    b, n, h, e = draw.sizes("bnhe")
    y, x, seed = *draw.sizes("yx"), draw.seed()
    table, rows = reference.table(y, x, e, 100.0), integers(seed, 1 + y * x, b, n)
    return {"x": floats(seed, b, n, h, e), "table": table, "rows": rows}


def rope2d_magnitude(x, table, rows):
    """Return |x0 c| + |x1 s| and |x1 c| + |x0 s|: both products counted as positive."""
    x, table = abs(x.astype(np.float64)), abs(table.astype(np.float64))
    turned = table.copy()
    turned[..., 1] *= -1
    return np.maximum(
        reference.rope2d(x, turned, rows), reference.rope2d(x, table, rows)
    )


SPECS = (Spec("rope2d", draw_rope2d, rope2d_magnitude, batched=("x", "rows"), axis=1),)
