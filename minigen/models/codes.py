"""Tokens that are numbers of a codebook: those of ARPG, LlamaGen and AiM.

What a run reads, and how its canvas looks. `minigen.models.masked` has functions of the
same names for models whose tokens are vectors.
"""

from __future__ import annotations

import numpy as np

from minigen import checks, plans
from minigen.errors import InputError
from minigen.models.query import Query

UNKNOWN = -1
"""What a canvas holds where no token is known yet."""


def check_known(config, plan, b, known):
    """Return the known tokens as (b k) int64, or raise InputError."""
    k = len(plan.known)
    known = np.empty((b, 0), np.int64) if known is None else known
    known = checks.whole_array("known tokens", known)
    if known.shape != (b, k):
        raise InputError(
            f"known tokens of shape {known.shape} were given; the plan knows {k} "
            f"positions of {b} images, so ({b}, {k}) was expected"
        )
    if k and (known.min() < 0 or known.max() >= config.vocabulary):
        raise InputError(
            f"known tokens lie in {known.min()} .. {known.max()}; this model's tokens "
            f"are 0 .. {config.vocabulary - 1}"
        )
    return known


def prompt(model, config, labels, plan, known, options):
    """Return what the model reads first: pairs of ids and rows (w n), in turn."""
    rows = model.table_rows(plan.known, options)
    return model.prompt(config, labels, rows, known, model.guides(options.guidance))


def one_by_one(classes, rows, known):
    """Return pairs of ids and rows (w 1): the classes (w) at row 0, then what is known.

    known (b k): tokens at rows (k) of the model's table; w is a multiple of b. On the
    host, int64.

    >>> [(i.tolist(), r.tolist()) for i, r in one_by_one([7, 9], [4], [[1]])]
    [([[7], [9]], [[0], [0]]), ([[1], [1]], [[4], [4]])]
    """
    known = np.asarray(known, np.int64)
    known = np.tile(known, (len(classes) // len(known), 1))
    ids = np.concatenate([np.array(classes, np.int64)[:, None], known], axis=1)
    rows = np.concatenate([[0], np.asarray(rows, np.int64)])
    return tuple(
        (ids[:, [i]], np.full((len(ids), 1), row)) for i, row in enumerate(rows)
    )


def queries(model, config, plan, images, options):
    """Return a `Query` for each step: every half of guidance asks for the same rows."""
    w = len(images) * (2 if model.guides(options.guidance) else 1)
    return tuple(
        Query(
            np.tile(model.table_rows(group, options), (w, 1)), positions(group), images
        )
        for group in plan.groups
    )


def guidance(options, known, counts):
    """Return the guidance of steps that draw `counts` tokens: of each a number.

    known: how many tokens are known from the first, which changes nothing.
    """
    schedule, value, n = options.guidance_schedule, options.guidance, sum(counts)
    decoded = np.cumsum(counts).tolist()
    return [plans.guidance_weight(schedule, value, d, n) for d in decoded]


def table(model, ops, config, grid):
    """Return what the model reads at every step beside its weights: how it turns."""
    return model.rotary_table(ops, config, grid)


def canvas(config, plan, b, known):
    """Return the canvas (b n) of b images: UNKNOWN, but for what is known."""
    rows, columns = plan.grid
    made = np.full((b, rows * columns), UNKNOWN, np.int64)
    made[:, list(plan.known)] = known
    return made


def positions(group):
    """Return the positions of a step, as its tokens lie: in the order of the plan."""
    return np.array(group, np.int64)


def is_known(canvas):
    """Return where something stands on a canvas."""
    return canvas != UNKNOWN


def show(canvas, grid, known):
    """Return a canvas of the host as (b y x). known: the positions it knows."""
    return canvas.reshape(-1, *grid)
