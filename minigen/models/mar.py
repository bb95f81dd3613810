"""MAR: the outer model that ARINAR has too, and a diffusion head that draws its tokens.

It is what ARINAR is measured against: all of a token's features at once, but in a
hundred passes of a network, where ARINAR takes one pass for each feature.

Source: arXiv 2406.11838; LTH14/mar models/mar.py::MAR.
"""

from __future__ import annotations

from functools import partial

from minigen.models import diffusion_head, masked
from minigen.models.masked import ask, begin, feed, guidance_weight, guides

__all__ = ["ask", "begin", "decode", "draw", "feed", "guidance_weight", "guides"]


def draw(ops, weights, config, z, draws, guidance, temperature, watch=None, table=None):
    """Draw the tokens (b m c) of which the outer model said z (w m d).

    draws: of b m rows, those of an image together; guidance 1 where w is b; table: of
    `diffusion_head.table`, where arrays live, None to make it here.
    """
    w, m, d = z.shape
    rows = z.reshape(w * m, 1, d)
    if table is None:
        table = ops.put(diffusion_head.table(config))
    call = rows, draws, table, guidance, temperature, watch
    x = diffusion_head.sample(ops, weights["head"], config, *call)
    return x.reshape(-1, m, config.features)


decode = partial(masked.decode, draw)
"""Draw the tokens of one group of positions after the other: see `masked.decode`."""
