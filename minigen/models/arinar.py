"""ARINAR: an autoregressive model inside each token of an autoregressive model.

The outer model (`mae`) reads the latent tokens known so far, and gives a conditioning
vector for each position asked for. The inner model (`mixture_head`) draws the features
of the token there one after the other, each from a mixture of Gaussians. `masked` has
what the sampling loop calls.

Source: arXiv 2503.02883; Qinyu-Allen-Zhao/Arinar backbone/mar.py::MAR.
"""

from __future__ import annotations

import numpy as np

from minigen.models import masked as run
from minigen.models import mixture_head
from minigen.models.masked import ask, begin, check_plan, feed, guides
from minigen.models.mixture_head import stretches

__all__ = [
    "ask",
    "begin",
    "check_plan",
    "draw",
    "feed",
    "guides",
    "loss",
    "stretches",
    "table",
]

GUIDED = {"candidates": mixture_head.choose, "grid": mixture_head.draw_on_grid}
"""How a guided feature is drawn: as in the original, or from the exact density."""


def table(config):
    """Return None: the head reads nothing but its weights."""


def draw(
    ops,
    weights,
    config,
    z,
    draws,
    guidance,
    temperature,
    table=None,
    way="candidates",
    watch=None,
):
    """Draw tokens (b m f), conditioned on the output z (w m d) of the outer model.

    w is 2b with guidance, and b if guidance is 1. draws: a `masked.Draws` of b m rows,
    those of an image together; temperature: see `mixture_head.stretches`; way: a name
    of GUIDED; watch: see `mixture_head.sample`.
    """
    w, m, d = z.shape
    rows = z.reshape(w * m, 1, d)  # (w m) tokens
    call = rows, draws, guidance, temperature, watch, GUIDED[way]
    x = mixture_head.sample(ops, weights["head"], config, *call)
    return x.reshape(-1, m, config.features)


def loss(ops, weights, config, tokens, labels, masked, watch=None):
    """Return the mean negative log-likelihood of the masked tokens, less a constant.

    On the host: tokens (b n f), all of them; labels (b); masked (b m): the positions to
    predict from the others. Features of a token are summed; the mean is over tokens.
    """
    b, m = masked.shape
    rest = np.ones((b, config.tokens), bool)
    np.put_along_axis(rest, masked, False, axis=1)
    known = np.nonzero(rest)[1].reshape(b, -1)
    call = labels, tokens, known, masked
    z = run.conditions(ops, weights, config, *call, watch=watch)  # (b m d)
    x = ops.put(np.take_along_axis(tokens, masked[..., None], axis=1))
    x = x.reshape(b * m, config.groups, config.group)  # a row is a token
    rows = z.reshape(b * m, 1, z.shape[-1])
    of_groups = mixture_head.likelihoods(ops, weights["head"], config, x, rows)
    return -float(np.asarray(ops.get(of_groups), np.float64).sum(axis=1).mean())
