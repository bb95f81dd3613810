"""A run of a masked model: a step asks for a set of positions, and draws their tokens.

Tokens are vectors of features here, not numbers of a codebook. ARINAR and MAR have all
of this in common, and each a head of its own that draws: `draw` of their modules. The
loop in `minigen.sample` calls what comes before `draw`, and functions of the same names
in `minigen.models.codes` for the other models.

Source: arXiv 2406.11838 (MAR), section 3.4; Qinyu-Allen-Zhao/Arinar backbone/mar.py
::sample_tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minigen import checks
from minigen.errors import InputError
from minigen.models import mae
from minigen.models.watching import tell
from minigen.plans import check_trained


@dataclass(frozen=True, eq=False)
class Draws:
    """Where b rows, each a position of an image, take their random numbers from.

    key (2) uint32: the words of the seed; images, positions (b) int64; step: of the
    run.
    """

    key: object
    images: object
    positions: object
    step: int


@dataclass(frozen=True, eq=False)
class Place:
    """Where a step asks and draws: its query, its draws, its positions (b m) int64."""

    query: mae.Query
    draws: Draws
    positions: object


@dataclass(frozen=True, eq=False)
class Memory:
    """What a run knows: rows (w n d), all that the encoder may read, once it is known.

    w is 2b, or b without guidance.
    """

    rows: object


def check_options(options):
    """Raise InputError for ways of drawing that vectors cannot be drawn in."""
    if options.top_k or options.top_p != 1:
        raise InputError(
            f"top_k {options.top_k} and top_p {options.top_p} choose among the codes "
            "of a codebook; this model's tokens are vectors: leave them at 0 and 1, "
            "and give a temperature"
        )


def check_plan(config, plan):
    """Raise InputError unless the grid is that of the positions the model has learned.

    It can draw them in any order, any number of them a step.
    """
    check_trained(plan, config.side)


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


def guides(guidance):
    """Say whether there is any guidance: not at 1, as in the original."""
    return guidance != 1


def prompt(model, config, labels, plan, known, options):
    """Return what the model is told first, on the host: classes (w 1), all rows (w n).

    What is known it is told by `remember`.
    """
    return _prompt(config, labels, model.guides(options.guidance))


def lay_out(model, config, plan, images, options):
    """Return all indices of a run, flat: those of `query` for each step in turn."""
    groups = [np.tile(g, (len(images), 1)) for g in plan.groups]
    known = np.tile(np.array(plan.known, np.int64), (len(images), 1))
    return flatten(config, groups, known, images, model.guides(options.guidance))


def flatten(config, groups, known, images, guided):
    """Return all indices of a run whose images may ask in orders of their own.

    groups: of each step the positions (b m); known (b k), images (b). What is known
    comes first: rows (w k), positions (b k). Then the steps: `indices`, and whose image
    each of the b m rows is. All on the host, int64.
    """
    times = 2 if guided else 1
    parts = [np.tile(known + config.buffer, (times, 1)), known]
    for positions in groups:
        # by image and position, whatever the order they were planned in
        positions = np.sort(positions, axis=1)
        parts += indices(config, known, positions, times)
        parts.append(np.repeat(images, positions.shape[1]))
        known = np.concatenate([known, positions], axis=1)
    return np.concatenate([part.reshape(-1) for part in parts]).astype(np.int64)


def indices(config, known, positions, times=1):
    """Return the rows that are read, asked for, and their positions: of `mae.Query`.

    known (b k), positions (b m), on the host; times: 2 for both halves of guidance.
    """
    buffer = np.tile(np.arange(config.buffer), (len(known), 1))
    known = np.sort(known, axis=1) + config.buffer
    read = np.concatenate([buffer, known], axis=1)
    parts = read, positions + config.buffer, positions
    return [np.tile(part, (times, 1)) for part in parts]


def table(model, ops, config, grid):
    """Return what the model reads at every step beside its weights, or None."""
    return model.table(config)


def place(config, given, counts, index):
    """Return the `Place` of step `index` of a run over `given`, `sample.Inputs`."""
    (b,), w, m = given.images.shape, given.ids.shape[0], counts[index]
    known = given.known_positions.shape[0]
    at = (w + b) * known
    for count in counts[:index]:
        at += w * (config.buffer + known + 2 * count) + b * count
        known += count
    shapes = (w, config.buffer + known), (w, m), (w, m), (b * m,)
    read, rows, positions, images = _cut(given.queries, at, shapes)
    query = mae.Query(read, rows, positions, given.rows)
    ours = positions[:b]
    draws = Draws(given.key, images, ours.reshape(b * m), index)
    return Place(query, draws, ours)


def begin(ops, weights, config, ids, rows, table=None, capacity=None):
    """Return the memory of a run that knows nothing but classes: of `prompt`.

    table, capacity: what other models need; this one needs neither.
    """
    return Memory(mae.begin(ops, weights, config, ids, rows))


def remember(model, call, memory, given):
    """Return the memory once it holds what is known: sample.Inputs.known (b k f)."""
    known, w = given.known, given.ids.shape[0]
    if not known.shape[1]:
        return memory
    rows, _ = _known(given)
    tokens = known if len(known) == w else call[0].twice(known)
    return feed(*call, memory, tokens, mae.Query(None, rows, None, None))


def ask(ops, weights, config, memory, query, table=None, watch=None):
    """Return what the outer model says of the positions asked for: (w m d).

    query: a `mae.Query`.
    """
    x = ops.gather(memory.rows, query.known)
    x = mae.encode(ops, weights, config, x, watch)
    return mae.conditions(ops, weights, config, x, query, watch)


def feed(ops, weights, config, memory, tokens, query, table=None):
    """Return the memory once it holds tokens (w m f) at the rows asked for."""
    new = mae.embed(ops, weights, tokens, query.rows)
    return Memory(ops.scatter(memory.rows, new, query.rows))


def guidance_weight(options, known, decoded, n):
    """Return the guidance of the step that brings `decoded` of n unknown tokens.

    known: how many were known from the first. linear rises, and would be the full
    guidance one token after the last: in the original one token is always counted as
    left. In float32, as there.
    """
    guidance = np.float32(options.guidance)
    if options.guidance_schedule == "constant":
        return float(guidance)
    n, decoded = known + n, min(known + decoded, known + n - 1)
    share = (guidance - np.float32(1)) * np.float32(decoded) / np.float32(n)
    return float(np.float32(1) + share)


def draw(model, call, z, place, given, weight, options, watch=None):
    """Draw tokens (b m f), given what the outer model said z (w m d): by the head.

    weight: of guidance, None for none, and then z is (b m d). There are no
    probabilities to return beside them.
    """
    tell(watch, "conditions", (place.draws.step, z))
    if weight is None or weight == 1:
        # the head takes both halves only if there is something to weigh
        z, weight = z[: len(place.positions)], 1.0
    heat, way = options.temperature, options.guided_draw
    how = place.draws, weight, heat, given.table, way, watch
    return call[0].check_finite(model.draw(*call, z, *how)), None


def new_canvas(ops, config, grid, given):
    """Return a canvas (b n f) of zeros, on which nothing stands but what is known."""
    b, n = given.images.shape[0], grid[0] * grid[1]
    canvas = ops.zeros((b, n, config.features))
    if given.known.shape[1]:
        canvas = ops.scatter(canvas, given.known, _known(given)[1])
    return canvas


def write(ops, canvas, tokens, place):
    """Write tokens (b m f) on the canvas (b n f)."""
    ops.scatter(canvas, tokens, place.positions)


def positions(group):
    """Return the positions of a step, as its tokens lie: rising."""
    return np.array(sorted(group), np.int64)


def is_known(canvas):
    """Return where something stands on a canvas (.. f) that `show` gave."""
    return ~np.isnan(canvas[..., 0])


def show(canvas, grid, known):
    """Return a canvas of the host as (b y x f), NaN but at the positions `known`."""
    shown = np.full_like(canvas, np.nan)
    shown[:, known] = canvas[:, known]
    return shown.reshape(len(canvas), *grid, -1)


def said(ops, weights, config, labels, tokens, known, asked, guided=False, watch=None):
    """Return what the outer model says of positions: (w m d). No run is needed.

    On the host: labels (b), -1 for no class; tokens (b n f): all of them; known (b k),
    asked (b m): positions.
    """
    times = 2 if guided else 1
    ids, everywhere = (ops.put(each) for each in _prompt(config, labels, guided))
    memory = begin(ops, weights, config, ids, everywhere)
    parts = map(ops.put, indices(config, known, asked, times))
    query = mae.Query(*parts, everywhere)
    if known.shape[1]:
        rows = ops.put(np.tile(known + config.buffer, (times, 1)))
        kept = np.take_along_axis(tokens, known[..., None], axis=1)
        kept = ops.put(np.tile(kept, (times, 1, 1)))
        told = mae.Query(None, rows, None, None)
        memory = feed(ops, weights, config, memory, kept, told)
    return ask(ops, weights, config, memory, query, watch=watch)


def to_tokens(latent, patch):
    """Return latents (b c y x) as tokens (b n f), on the host: features by channel.

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
    everywhere = np.arange(config.buffer + config.tokens)
    return mae.class_rows(config, labels), np.tile(everywhere, (len(labels), 1))


def _known(given):
    # rows (w k) and positions (b k) of what is known
    (b, k), w = given.known.shape[:2], given.ids.shape[0]
    return _cut(given.queries, 0, ((w, k), (b, k)))


def _cut(flat, at, shapes):
    # arrays of these shapes that lie one after the other from `at`
    parts = []
    for shape in shapes:
        end = at + math.prod(shape)
        parts.append(flat[at:end].reshape(shape))
        at = end
    return parts
