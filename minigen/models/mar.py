"""MAR: the outer model that ARINAR has too, and a diffusion head that draws its tokens.

It is what ARINAR is measured against: all of a token's features at once, but in a
hundred passes of a network, where ARINAR takes one pass for each feature.

Source: arXiv 2406.11838; LTH14/mar models/mar.py::MAR.
"""

from __future__ import annotations

import numpy as np

from minigen.models import diffusion_head
from minigen.models.arinar import ask, begin, feed, guidance_weight, guides
from minigen.models.layers import tell
from minigen.models.mixture_head import Draws

__all__ = ["ask", "begin", "decode", "draw", "feed", "guidance_weight", "guides"]


def draw(ops, weights, config, z, draws, guidance, temperature, watch=None):
    """Draw the tokens (b m c) of which the outer model said z (w m d).

    draws: of b m rows, those of an image together; guidance 1 where w is b.
    """
    w, m, d = z.shape
    rows = z.reshape(w * m, 1, d)
    call = rows, draws, guidance, temperature, watch
    x = diffusion_head.sample(ops, weights["head"], config, *call)
    return x.reshape(-1, m, config.features)


def decode(ops, weights, config, memory, groups, options, numbers, watch=None):
    """Draw the tokens of one group of positions after the other, and yield them.

    Arguments and results are those of `minigen.models.arinar.decode`.
    """
    key, images = numbers
    guided = guides(options.guidance)
    n, left = config.tokens, config.tokens - memory.known.shape[1]
    for index, positions in enumerate(groups):
        # by image and position, whatever the order they were planned in
        positions = np.sort(positions, axis=1)
        m = positions.shape[1]
        left -= m
        weight = guidance_weight(options, n - left, n) if guided else 1.0
        z = ask(ops, weights, config, memory, positions, watch)
        tell(watch, "conditions", (index, z))
        whose = np.repeat(np.asarray(images, np.int64), m), positions.reshape(-1)
        draws = Draws(ops.put(key), *map(ops.put, whose), index)
        heat = options.temperature
        tokens = draw(ops, weights, config, z, draws, weight, heat, watch)
        memory = feed(ops, memory, tokens, positions)
        yield tokens, weight, memory
