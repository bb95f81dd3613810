"""ARINAR: an autoregressive model inside each token of an autoregressive model.

The outer model (`mae`) reads the latent tokens known so far and says something of each
of the others; the inner one (`mixture_head`) draws the features of a token from that,
one after the other, each from a mixture of Gaussians. How a run goes is in `masked`.

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
"""How a guided feature is drawn: as the original does, or from the exact density."""


def table(config):
    """Return what the head reads at every step beside its weights: nothing."""


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
    """Draw the tokens (b m f) of which the outer model said z (w m d).

    draws: of b m rows, those of an image together; guidance 1 where w is b;
    temperature: see `mixture_head.stretches`; way: a name of GUIDED; watch: told of
    what `mixture_head.sample` tells.
    """
    w, m, d = z.shape
    rows = z.reshape(w * m, 1, d)
    call = rows, draws, guidance, temperature, watch, GUIDED[way]
    x = mixture_head.sample(ops, weights["head"], config, *call)
    return x.reshape(-1, m, config.features)


def loss(ops, weights, config, tokens, labels, masked, watch=None):
    """Return the mean negative log-likelihood of the masked tokens, less a constant.

    On the host: tokens (b n f), all of them; labels (b); masked (b m): positions to be
    told from the others. The mean is over tokens; features of a token are added up.
    """
    b, m = masked.shape
    rest = np.ones((b, config.tokens), bool)
    np.put_along_axis(rest, masked, False, axis=1)
    known = np.nonzero(rest)[1].reshape(b, -1)
    told = labels, tokens, known, masked
    z = run.conditions(ops, weights, config, *told, watch=watch)
    x = ops.put(np.take_along_axis(tokens, masked[..., None], axis=1))
    x = x.reshape(b * m, config.groups, config.group)
    rows = z.reshape(b * m, 1, z.shape[-1])
    of_groups = mixture_head.likelihoods(ops, weights["head"], config, x, rows)
    return -float(np.asarray(ops.get(of_groups), np.float64).sum(axis=1).mean())
