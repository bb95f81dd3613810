"""A run of a model whose tokens are numbers of a codebook: what is drawn, and how.

The loop in `minigen.sample` calls these functions for ARPG, LlamaGen and AiM, and those
of the same names in `minigen.models.masked` for models whose tokens are vectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen import checks, plans
from minigen.errors import InputError

UNKNOWN = -1
"""What a canvas holds where no token is known yet."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where a step asks: int64, where the other arrays live.

    query (w m): rows of the model's table; positions (m): of the raster; step: of the
    run.
    """

    query: object
    positions: object
    step: int


def check_options(options):
    """Raise InputError for ways of drawing that codes cannot be drawn in: none."""


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
    """Return ids and rows of what the model is told first: its `prompt`."""
    rows = model.table_rows(plan.known, options)
    return model.prompt(config, labels, rows, known, model.guides(options.guidance))


def lay_out(model, config, plan, images, options):
    """Return the rows (w m) of the table that each step asks for, flat, one by one."""
    w = len(images) * (2 if model.guides(options.guidance) else 1)
    asked = [np.tile(model.table_rows(g, options), w) for g in plan.groups]
    return np.concatenate([*asked, np.empty(0, np.int64)])


def table(model, ops, config, grid):
    """Return what the model reads at every step beside its weights: how it turns."""
    return model.rotary_table(ops, config, grid)


def place(config, given, counts, index):
    """Return the `Place` of step `index` of a run over `given`, `sample.Inputs`."""
    m, decoded = counts[index], sum(counts[:index])
    w = given.queries.shape[0] // given.positions.shape[0]
    positions = given.positions[decoded : decoded + m]
    query = given.queries[w * decoded : w * (decoded + m)].reshape(w, m)
    return Place(query, positions, index)


def remember(model, call, state, given):
    """Return the state once it holds what is known: the prompt held that too."""
    return state


def guidance_weight(options, known, decoded, n):
    """Return the guidance of the step that brings `decoded` of n unknown tokens."""
    return plans.guidance_weight(
        options.guidance_schedule, options.guidance, decoded, n
    )


def draw(model, call, logits, place, given, weight, options, watch=None):
    """Draw tokens (b m) from logits (w m v), and return the probabilities (b m v) too.

    weight: of guidance, None for none, and then the logits are (b m v).
    """
    ops = call[0]
    logits = logits if weight is None else ops.guide(logits, weight)
    # a logit of -inf would have no probability, and nobody would see it in them
    logits = ops.check_finite(logits)
    p = ops.probabilities(logits, options.temperature, options.top_k, options.top_p)
    where = given.key, given.images, place.positions, place.step, 0
    return ops.draw(p, ops.uniforms(*where)), p


def new_canvas(ops, config, grid, given):
    """Return a canvas (b n) on which nothing stands but what is known."""
    canvas = ops.full((given.images.shape[0], grid[0] * grid[1]), UNKNOWN)
    if given.known_positions.shape[0]:
        ops.place(canvas, given.known, given.known_positions)
    return canvas


def write(ops, canvas, tokens, place):
    """Write tokens (b m) on the canvas (b n)."""
    ops.place(canvas, tokens, place.positions)


def positions(group):
    """Return the positions of a step, as its tokens lie: in the order of the plan."""
    return np.array(group, np.int64)


def is_known(canvas):
    """Return where something stands on a canvas."""
    return canvas != UNKNOWN


def show(canvas, grid, known):
    """Return a canvas of the host as (b y x). known: the positions it knows."""
    return canvas.reshape(-1, *grid)
