"""Specification of embed: exact, since it copies."""

from minigen.checking.spec import LONG_ROWS, Spec, floats, integers


def draw_embed(draw):
    """Draw table (t d), ids (b n)."""
    b, n, t, d = draw.sizes("bntd")
    dtype, seed = draw.dtype(), draw.seed()
    return {"table": floats(seed, t, d, dtype=dtype), "ids": integers(seed, t, b, n)}


SPECS = (Spec("embed", draw_embed, batched=("ids",), routes=LONG_ROWS),)
