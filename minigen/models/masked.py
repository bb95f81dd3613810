"""Masked models: a step asks for a set of positions, and draws their tokens.

A token is a vector of features here, not the number of a code. ARINAR and MAR share all
of this; each has a head of its own, `draw` of its module. The sampling loop is
`minigen.sample`; `minigen.models.codes` has functions of the same names for the other
models.

Source: arXiv 2406.11838 (MAR), section 3.4; Qinyu-Allen-Zhao/Arinar backbone/mar.py
::sample_tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from minigen import checks
from minigen.errors import InputError, ShapeError
from minigen.models import mae
from minigen.models.query import Query, positions_of
from minigen.plans import check_trained

UNKNOWN = np.nan
"""What a canvas holds, in every feature, where no token is known yet."""


@dataclass(frozen=True, eq=False)
class Memory:
    """The state of a run: rows (w n d), the input of the encoder at every position.

    A row is read only once its token is known. w is 2b, or b without guidance.
    """

    rows: object


def check_plan(config, plan):
    """Raise InputError unless the grid is the one whose positions the model learned.

    It draws in any order but confidence, and any number of tokens a step.
    """
    check_trained(plan, config.side)
    if plan.per_image == "confidence":
        raise InputError(
            "this model's tokens are vectors, which have a density and no probability: "
            "none can be called the most certain, as the order confidence needs it; "
            "ask for another order"
        )


def check_known(config, plan, b, known):
    """Return the known tokens as (b k f) float32, or raise InputError."""
    k, f = len(plan.known), config.features
    if known is None:
        known = np.empty((b, 0, f), np.float32)
    known = checks.number_array("known tokens", known)
    if known.shape != (b, k, f):
        raise InputError(
            f"known tokens of shape {known.shape} were given; the plan knows {k} "
            f"positions of {b} images, and a token has {f} features, so ({b}, {k}, "
            f"{f}) was expected"
        )
    return known


def check_canvas(config, canvas):
    """Return a canvas (.. y x f) as a new array of float32: tokens, NaN elsewhere.

    Raises ShapeError, InputError.
    """
    canvas = checks.number_array("known tokens", canvas, finite=False)
    if canvas.ndim < 3 or canvas.shape[-1] != config.features:
        raise ShapeError(
            f"known tokens of shape {canvas.shape}; a token of this model has "
            f"{config.features} features: expected (b, y, x, {config.features})"
        )
    unknown = np.isnan(canvas)
    if np.isinf(canvas).any() or (unknown != unknown[..., :1]).any():
        raise InputError(
            "known tokens hold infinity, or NaN in some features of a token only; a "
            "token is known, all its features finite, or unknown, all of them NaN"
        )
    return canvas


def guides(guidance):
    """Return whether the unconditional half is needed: not at 1, as in the original."""
    return guidance != 1


def prompt(model, config, labels, plan, known, options):
    """Return what the model reads first, on the host: one or two pairs, in turn.

    The first is the classes (w 1) with all rows (w n). If tokens are known, the second
    is these tokens (w k f) with a `mae.Query` of their rows.
    """
    guided = model.guides(options.guidance)
    first = _prompt(config, labels, guided)
    if not plan.known:
        return (first,)
    times = 2 if guided else 1
    rows = np.array(plan.known, np.int64) + config.buffer
    rows = np.tile(rows, (times * len(labels), 1))
    return first, (np.tile(known, (times, 1, 1)), mae.Query(None, rows, None, None))


def queries(model, config, plan, images, options):
    """Return a `Query` for each step."""
    groups, guided = positions_of(plan, images), model.guides(options.guidance)
    known = np.tile(np.array(plan.known, np.int64), (len(images), 1))
    return queries_of(config, groups, known, images, guided)


def queries_of(config, groups, known, images, guided):
    """Return a `Query` for each step; here each image may ask for other positions.

    groups: of each step the positions (b m); known (b k): positions; images (b): their
    numbers. All on the host, int64.
    """
    times, made = 2 if guided else 1, []
    everywhere = _everywhere(config, times * len(images))
    for positions in groups:
        # by image and position, whatever the order they were planned in
        positions = np.sort(positions, axis=1)
        asked = mae.Query(*indices(config, known, positions, times), everywhere)
        made.append(Query(asked, positions, np.repeat(images, positions.shape[1])))
        known = np.concatenate([known, positions], axis=1)
    return tuple(made)


def indices(config, known, positions, times=1):
    """Return known, rows and positions of a `mae.Query`, on the host.

    known (b k), positions (b m): of the grid; times: 2 for both halves of guidance.
    """
    buffer = np.tile(np.arange(config.buffer), (len(known), 1))
    known = np.sort(known, axis=1) + config.buffer
    read = np.concatenate([buffer, known], axis=1)
    parts = read, positions + config.buffer, positions
    return [np.tile(part, (times, 1)) for part in parts]


def table(model, ops, config, grid):
    """Return what the model reads at every step beside its weights, or None."""
    return model.table(config)


def begin(ops, weights, config, ids, rows, table=None, capacity=None, causal=False):
    """Return the memory of a run that knows the classes only.

    ids (w 1), rows (w n): from `prompt`. The rest is not used: nothing is masked.
    """
    return Memory(mae.begin(ops, weights, config, ids, rows))


def ask(ops, weights, config, memory, query, table=None, watch=None):
    """Return the outer model's output at the positions asked for: (w m d).

    query: a `mae.Query`.
    """
    x = ops.gather(memory.rows, query.known)  # all rows -> known rows
    x = mae.encode(ops, weights, config, x, watch)
    return mae.conditions(ops, weights, config, x, query, watch)


def feed(ops, weights, config, memory, tokens, query, table=None, causal=False):
    """Return the memory with tokens (w m f) written at query.rows."""
    new = mae.embed(ops, weights, tokens, query.rows)
    return Memory(ops.scatter(memory.rows, new, query.rows))


def guidance(options, known, counts):
    """Return the guidance weight of each step; step i draws counts[i] tokens.

    known: how many tokens are given. The linear schedule rises with the tokens drawn,
    but stops one token before the full guidance: the original never counts the last
    token. In float32, rounded where it rounds.
    """
    value, n = options.guidance, known + sum(counts)
    if options.guidance_schedule == "constant":
        return [float(value)] * len(counts)
    decoded = [min(known + d, n - 1) for d in np.cumsum(counts).tolist()]
    # one is taken from a number of Python's, before a tensor turns it into float32
    one, rise = np.float32(1), np.float32(value - 1)
    return [float(one + rise * np.float32(d) / np.float32(n)) for d in decoded]


def canvas(config, plan, b, known):
    """Return the canvas (b n f) of b images: zeros except at known positions."""
    rows, columns = plan.grid
    made = np.zeros((b, rows * columns, config.features), np.float32)
    made[:, list(plan.known)] = known
    return made


def is_known(canvas):
    """Return a mask (..) of the known tokens of a canvas (.. f) from `show`."""
    return ~np.isnan(canvas[..., 0])


def show(canvas, grid, known):
    """Return a canvas of the host as (b y x f): NaN except at positions known (b k)."""
    shown, known = np.full_like(canvas, UNKNOWN), known[..., None]
    np.put_along_axis(shown, known, np.take_along_axis(canvas, known, 1), 1)
    return shown.reshape(len(canvas), *grid, -1)


def conditions(
    ops, weights, config, labels, tokens, known, asked, guided=False, watch=None
):
    """Return the outer model's output at positions, outside the loop: (w m d).

    On the host: labels (b), -1 for no class; tokens (b n f): all of them; known (b k),
    asked (b m): positions. w is 2b if guided.
    """
    times = 2 if guided else 1
    ids, everywhere = (ops.put(each) for each in _prompt(config, labels, guided))
    memory = begin(ops, weights, config, ids, everywhere)
    parts = map(ops.put, indices(config, known, asked, times))
    query = mae.Query(*parts, everywhere)
    if known.shape[1]:
        rows = ops.put(np.tile(known + config.buffer, (times, 1)))
        given = np.take_along_axis(tokens, known[..., None], axis=1)
        given = ops.put(np.tile(given, (times, 1, 1)))
        written = mae.Query(None, rows, None, None)
        memory = feed(ops, weights, config, memory, given, written)
    return ask(ops, weights, config, memory, query, watch=watch)


def to_tokens(latent, patch):
    """Return latents (b c y x) as tokens (b n f), on the host.

    A token is a patch of patch x patch latents, its features sorted by channel.

    >>> to_tokens(np.arange(8.0).reshape(1, 2, 2, 2), 2).tolist()
    [[[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]]]
    """
    b, c, y, x = latent.shape
    cut = latent.reshape(b, c, y // patch, patch, x // patch, patch)
    tokens = cut.transpose(0, 2, 4, 1, 3, 5).reshape(b, -1, c * patch * patch)
    return np.ascontiguousarray(tokens)


def to_latent(tokens, patch, grid):
    """Return the latents (b c y x) of tokens (b n f) on a grid: undoes `to_tokens`."""
    b, _, f = tokens.shape
    rows, columns = grid
    cut = tokens.reshape(b, rows, columns, f // patch**2, patch, patch)
    return cut.transpose(0, 3, 1, 4, 2, 5).reshape(b, -1, rows * patch, columns * patch)


def _prompt(config, labels, guided):
    labels = np.asarray(labels, np.int64)
    if guided:
        labels = np.concatenate([labels, np.full_like(labels, -1)])
    return mae.class_rows(config, labels), _everywhere(config, len(labels))


def _everywhere(config, w):
    return np.tile(np.arange(config.buffer + config.tokens), (w, 1))
