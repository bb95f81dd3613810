"""Tokens that are numbers of codes: those of ARPG, LlamaGen and AiM.

Here is what a run reads, and what its canvas holds. `minigen.models.masked` has
functions of the same names for models whose tokens are vectors.
"""

from __future__ import annotations

import numpy as np

from minigen import checks, plans
from minigen.errors import InputError
from minigen.models.query import Query, positions_of

UNKNOWN = -1
"""What a canvas holds where no token is known yet."""


def check_known(config, plan, b, known):
    """Return the known tokens as (b k) int64, or raise InputError."""
    k = len(plan.known)
    known = np.empty((b, 0), np.int64) if known is None else known
    known = checks.integer_array("known tokens", known)
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


def check_canvas(config, canvas):
    """Return a canvas (.. y x) as a new array of int64: tokens, UNKNOWN elsewhere.

    Raises ShapeError, InputError.
    """
    canvas = checks.integer_array("known tokens", canvas)
    if canvas.size and not UNKNOWN <= canvas.min() <= canvas.max() < config.vocabulary:
        raise InputError(
            f"known tokens lie in {canvas.min()} .. {canvas.max()}; this model's are "
            f"0 .. {config.vocabulary - 1}, and {UNKNOWN} where a token is unknown"
        )
    return canvas


def check_takes(config, given):
    """Raise InputError unless a model that takes condition tokens is `given` some.

    Or unless one that takes none is given none.
    """
    takes = bool(getattr(config, "control", 0))
    if given and not takes:
        raise InputError(
            "condition tokens (control) were given, and this model takes none; leave "
            "them out, or load arpg-mnist-control"
        )
    if takes and not given:
        raise InputError(
            "this model draws what condition tokens (control) describe, and none were "
            "given; give pipe.encode(minigen.images.outline(images)), or in the shell "
            "--control with the picture of an outline"
        )


def check_control(config, grid, b, control):
    """Return condition tokens as (b y x) int64, or None for a model without control.

    control: (b y x), or (1 y x) for all b images of a grid. Raises InputError and
    ShapeError.
    """
    check_takes(config, control is not None)
    if control is None:
        return None
    control = checks.integer_array("control", control)
    y, x = grid
    if control.shape not in ((b, y, x), (1, y, x)):
        raise InputError(
            f"condition tokens of shape {control.shape} were given; expected ({b}, "
            f"{y}, {x}) or (1, {y}, {x}): a token for each of {y} x {x} positions"
        )
    if control.min() < 0 or control.max() >= config.control:
        raise InputError(
            f"condition tokens lie in {control.min()} .. {control.max()}; this model's "
            f"are 0 .. {config.control - 1}"
        )
    return np.broadcast_to(control, (b, y, x))


def any_control(config, grid):
    """Return condition tokens for where it does not matter what is drawn, or None."""
    return np.zeros((1, *grid), np.int64) if getattr(config, "control", 0) else None


def controls(model, config, control, guided):
    """Return the codes (w 1+n) of all rows of the rotary table, or None without any.

    control (b y x): condition tokens; the half without a class has none.
    """
    if control is None:
        return None
    control = control.reshape(len(control), -1)
    if guided:
        nothing = np.full_like(control, config.no_control_id)
        control = np.concatenate([control, nothing])
    return model.with_class(config, control)


def prompt(model, config, labels, plan, known, options):
    """Return what the model reads first: pairs of ids and rows (w n), in turn."""
    rows = model.table_rows(plan.known, options)
    return model.prompt(config, labels, rows, known, model.guides(options.guidance))


def one_by_one(classes, rows, known):
    """Return pairs of ids and rows (w 1): the classes at row 0, then the known tokens.

    classes (w); known (b k): tokens at rows (k) of the position table; w is b or 2b. On
    the host, int64.

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
    """Return a `Query` for each step. Both halves of guidance ask for the same rows.

    For the order confidence there is one, of all that is unknown.
    """
    times = 2 if model.guides(options.guidance) else 1
    made, steps = [], positions_of(plan, images)
    if plan.per_image == "confidence" and steps:
        steps = [np.concatenate(steps, axis=1)]
    for positions in steps:
        asked = np.tile(model.table_rows(positions, options), (times, 1))
        if plan.per_image is None:
            made.append(Query(asked, positions[0], images))
        else:
            numbers = np.repeat(images, positions.shape[1])
            made.append(Query(asked, positions, numbers))
    return tuple(made)


def guidance(options, known, counts):
    """Return the guidance weight of each step; step i draws counts[i] tokens.

    known: how many tokens are given; not used.
    """
    schedule, value, n = options.guidance_schedule, options.guidance, sum(counts)
    decoded = np.cumsum(counts).tolist()
    return [plans.guidance_weight(schedule, value, d, n) for d in decoded]


def table(model, ops, config, grid):
    """Return the rotary table that the model reads at every step, or None."""
    return model.rotary_table(ops, config, grid)


def canvas(config, plan, b, known):
    """Return the canvas (b n) of b images: UNKNOWN except at known positions."""
    rows, columns = plan.grid
    made = np.full((b, rows * columns), UNKNOWN, np.int64)
    made[:, list(plan.known)] = known
    return made


def is_known(canvas):
    """Return a mask of the known tokens of a canvas."""
    return canvas != UNKNOWN


def show(canvas, grid, known):
    """Return a canvas of the host as (b y x). known: not used."""
    return canvas.reshape(-1, *grid)
