"""Specification of columns: exact, since it copies."""

from minigen.checking.spec import Spec, floats


def draw_columns(draw):
    """Draw x (b n d), and which of its columns."""
    b, n, d, seed = *draw.sizes("bnd"), draw.seed()
    first = draw.between(0, min(d - 1, 5))
    last = d - draw.between(0, min(d - 1 - first, 5))
    return {"x": floats(seed, b, n, d), "first": first, "last": last}


SPECS = (
    Spec(
        "columns",
        draw_columns,
        batched=("x",),
        axis=1,
        routes=({"d": 300, "first": 3, "last": 290},),
    ),
)
