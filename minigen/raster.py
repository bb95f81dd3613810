"""The loop in raster order: one token a step, and what a step costs never grows.

Each step feeds the token before to both halves of guidance, and draws the next one from
what the two say. Both halves see the conditional half's tokens.

Source: hp-l33/AiM models/aim.py::generate, models/stage2/generation.py::decode. Two
things are ours: a temperature is honoured, which the original accepts and ignores; and
a draw is a function of seed, image and position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from minigen import plans, rng
from minigen.errors import InputError
from minigen.models import aim
from minigen.sample import UNKNOWN, Options, Step, check_labels


@dataclass(frozen=True)
class Inputs:
    """All that a run reads beside the weights, in arrays that are moved there once.

    key (2) uint32: the words of the seed; images (b): their numbers; labels (2b 1): the
    classes, then no class; positions (n): 0 .. n - 1; rows (n 2b 1): of the position
    table, for the token at each position. Indices are int64.
    """

    key: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    positions: np.ndarray
    rows: np.ndarray


def inputs(config, labels, seed=0, first=0, positions="released") -> Inputs:
    """Return what a run reads, still on the host. Arguments as for `steps`."""
    labels = check_labels(config, labels)
    if positions not in aim.POSITIONS:
        raise InputError(
            f"positions {positions!r} are not known; choose {', '.join(aim.POSITIONS)}"
        )
    classes = [config.class_id(label) for label in labels]
    both = classes + [config.no_class_id] * len(labels)
    n = np.arange(config.tokens)
    rows = np.broadcast_to(
        (n + aim.POSITIONS[positions])[:, None, None], (len(n), len(both), 1)
    )
    return Inputs(
        key=np.array(rng.split_seed(seed), np.uint32),
        images=np.arange(first, first + len(labels)),
        labels=np.array(both, np.int64)[:, None],
        positions=n,
        rows=np.ascontiguousarray(rows),
    )


def put(ops, given: Inputs) -> Inputs:
    """Return the inputs where the backend's arrays live."""
    return Inputs(**{name: ops.put(array) for name, array in vars(given).items()})


def decode(ops, weights, config, options, given: Inputs, canvas, watch=None):
    """Draw the tokens one by one, write them on the canvas (b n), and yield them.

    given, canvas: where the backend's arrays live, and so is what is yielded: the token
    (b 1), the probabilities (b 1 v) it was drawn from; and guidance's weight. watch:
    told of "memory", the state of every layer, at each step.
    """
    n = config.tokens
    condition = aim.condition(ops, weights, config, given.labels)
    memory = aim.new_memory(ops, config, given.labels.shape[0])
    x = condition.first
    for t in range(n):
        weight = plans.guidance_weight(
            options.guidance_schedule, options.guidance, t + 1, n
        )
        logits = aim.read(ops, weights, config, x, condition, memory)
        if watch is not None:
            watch("memory", memory)
        p = ops.probabilities(
            ops.guide(logits, weight), options.temperature, options.top_k, options.top_p
        )
        position = given.positions[t : t + 1]
        tokens = ops.draw(p, ops.uniforms(given.key, given.images, position, t, 0))
        ops.place(canvas, tokens, position)
        yield tokens, p, weight
        rows = given.rows[t : t + 1].reshape(given.labels.shape)
        x = aim.place(ops, weights, ops.twice(tokens), rows)


def steps(
    ops, weights, config, labels, seed=0, options=None, first=0, positions="released"
) -> Iterator[Step]:
    """Draw an image of tokens for each of `labels` and yield every step.

    ops: a table of `minigen.backends`; labels: b class numbers; first: the number of
    the first image, which its draws depend on; positions: a name of `aim.POSITIONS`.
    Raises InputError.
    """
    given = put(ops, inputs(config, labels, seed, first, positions))
    canvas, shape = new_canvas(ops, config, given), (-1, config.side, config.side)
    run = decode(ops, weights, config, options or settings(), given, canvas)
    for t, (tokens, p, weight) in enumerate(run):
        # the canvas will be written again
        picture = np.array(ops.get(canvas)).reshape(shape)
        drawn = ops.get(tokens), ops.get(p), weight
        yield Step(t, config.tokens, np.array([t]), *drawn, picture)


def sample(
    ops, weights, config, labels, seed=0, options=None, first=0, positions="released"
) -> np.ndarray:
    """Draw tokens (b y x) int64, an image for each of `labels`. See `steps`."""
    given = put(ops, inputs(config, labels, seed, first, positions))
    canvas = new_canvas(ops, config, given)
    for _ in decode(ops, weights, config, options or settings(), given, canvas):
        pass
    return ops.get(canvas).reshape(-1, config.side, config.side)


def new_canvas(ops, config, given: Inputs):
    """Return a canvas (b n) on which nothing stands yet."""
    return ops.full((given.images.shape[0], config.tokens), UNKNOWN)


def settings() -> Options:
    """Return how AiM's own code draws by default: constant guidance of 5."""
    return Options(guidance=5.0, guidance_schedule="constant")
