"""MAR: the outer model that ARINAR has too, and a diffusion head that draws its tokens.

It is the baseline of ARINAR: the head draws all features of a token at once, but in a
hundred passes of a network, where ARINAR takes one pass for each feature.

Source: arXiv 2406.11838; LTH14/mar models/mar.py::MAR.
"""

from __future__ import annotations

from minigen.models import diffusion_head
from minigen.models.diffusion_head import table
from minigen.models.masked import ask, begin, check_plan, feed, guides

__all__ = ["ask", "begin", "check_plan", "draw", "feed", "guides", "table"]


def draw(
    ops,
    weights,
    config,
    z,
    draws,
    guidance,
    temperature,
    table,
    way="candidates",
    watch=None,
):
    """Draw tokens (b m f), conditioned on the output z (w m d) of the outer model.

    w is 2b with guidance, and b if guidance is 1. draws: a `query.Draws` of b m rows,
    those of an image together; table: from `diffusion_head.table`, where arrays live;
    way: not used, it is ARINAR's.
    """
    w, m, d = z.shape
    rows = z.reshape(w * m, 1, d)  # (w m) tokens
    call = rows, draws, table, guidance, temperature, watch
    x = diffusion_head.sample(ops, weights["head"], config, *call)
    return x.reshape(-1, m, config.features)
