"""ARINAR: an autoregressive model inside each token of an autoregressive model.

The outer model (`mae`) reads the latent tokens known so far and says something of each
of the others; the inner one (`mixture_head`) draws the features of a token from that,
one after the other, each from a mixture of Gaussians. How a run goes is in `masked`.

Source: arXiv 2503.02883; Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from minigen.models import masked as run
from minigen.models import mixture_head
from minigen.models.masked import (
    ask,
    begin,
    feed,
    guidance_weight,
    guides,
    to_latent,
    to_tokens,
)

__all__ = [
    "ask",
    "begin",
    "decode",
    "draw",
    "feed",
    "guidance_weight",
    "guides",
    "loss",
    "to_latent",
    "to_tokens",
]


def draw(
    ops, weights, config, z, draws, guidance, temperature, watch=None, guided=None
):
    """Draw the tokens (b m c) of which the outer model said z (w m d).

    draws: of b m rows, those of an image together; guidance 1 where w is b; guided: as
    of `mixture_head.sample`.
    """
    w, m, d = z.shape
    rows = z.reshape(w * m, 1, d)
    call = rows, draws, guidance, temperature, watch, guided
    x = mixture_head.sample(ops, weights["head"], config, *call)
    return x.reshape(-1, m, config.features)


decode = partial(run.decode, draw)
"""Draw the tokens of one group of positions after the other: see `masked.decode`."""


def loss(ops, weights, config, latents, labels, masked, watch=None):
    """Return the mean negative log-likelihood of the masked tokens, less a constant.

    latents (b n c): all tokens; labels (b); masked (b m): positions to be told from the
    others. The mean is over tokens; features of a token are added up.
    """
    b, m = masked.shape
    rest = np.ones((b, config.tokens), bool)
    np.put_along_axis(rest, masked, False, axis=1)
    known = np.nonzero(rest)[1].reshape(b, -1)
    memory = begin(ops, weights, config, labels, ops.put(latents), known)
    z = ask(ops, weights, config, memory, masked, watch)
    x = ops.gather(memory.canvas, ops.put(masked))
    x = x.reshape(b * m, config.groups, config.group)
    rows = z.reshape(b * m, 1, z.shape[-1])
    of_groups = mixture_head.likelihoods(ops, weights["head"], config, x, rows)
    return -float(np.asarray(ops.get(of_groups), np.float64).sum(axis=1).mean())
