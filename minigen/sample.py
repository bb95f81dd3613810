"""The one loop: at each step of a plan read what was drawn, ask, guide, draw, write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from minigen import plans, rng
from minigen.errors import InputError
from minigen.models import arpg

UNKNOWN = -1
"""What a canvas holds where no token is known yet."""


@dataclass(frozen=True)
class Options:
    """How tokens are drawn; the same for every step.

    guidance 1 turns guidance off in effect; temperature 0 is greedy but for near-ties;
    top_k 0 and top_p 1 keep every token.
    """

    guidance: float = 4.0
    guidance_schedule: str = "linear"
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not np.isfinite(self.guidance):
            raise InputError(f"guidance {self.guidance} is not a finite number")
        if not (np.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(
                f"temperature {self.temperature} is not a number of at least 0"
            )
        if isinstance(self.top_k, bool) or int(self.top_k) != self.top_k:
            raise InputError(f"top_k {self.top_k!r} is not a whole number (0 is off)")
        if np.isnan(self.top_p):
            raise InputError("top_p is not a number (1 is off)")
        plans.guidance_weight(self.guidance_schedule, self.guidance, 1, 1)


@dataclass(frozen=True)
class Step:
    """One decoding step of b images: m positions were asked for and drawn.

    positions (m) int64; tokens (b m) int64; probabilities (b m v) float32, after
    guidance, temperature and filters: what the tokens were drawn from; weight: of
    guidance; canvas (b y x) int64, every token so far, UNKNOWN elsewhere.
    """

    index: int
    steps: int
    positions: np.ndarray = field(repr=False)
    tokens: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    weight: float
    canvas: np.ndarray = field(repr=False)


def steps(
    ops, weights, config, plan, labels, seed=0, options=None, known=None, first=0
) -> Iterator[Step]:
    """Decode `plan` for each of `labels` and yield every step.

    ops: a table of `minigen.backends`; labels: b class numbers; known (b k) int64: the
    tokens at plan.known; first: the number of the first image, which its draws depend
    on. Raises InputError. Source: hp-l33/ARPG models/arpg.py::generate; with known
    tokens, its cache holds the class and them before the first question.
    """
    options = options or Options()
    labels = check_labels(config, labels)
    known = check_known(config, plan, len(labels), known)
    images = np.arange(first, first + len(labels))
    n = len(plan.order)
    canvas = np.full((len(labels), plan.grid[0] * plan.grid[1]), UNKNOWN, np.int64)
    canvas[:, list(plan.known)] = known

    table = arpg.rotary_table(ops, config, plan.grid)
    cache = arpg.new_cache(ops, config, 2 * len(labels), 1 + len(plan.known) + n)
    ids, rows = prefill(config, labels, plan.known, known)
    decoded = 0
    for index, group in enumerate(plan.groups):
        positions = np.array(group, np.int64)
        decoded += len(group)
        weight = plans.guidance_weight(
            options.guidance_schedule, options.guidance, decoded, n
        )
        queries = _both(np.broadcast_to(positions + 1, (len(labels), len(group))))
        cache = arpg.feed(ops, weights, config, cache, ids, rows, table)
        logits = arpg.ask(ops, weights, config, cache, queries, table)
        p = ops.probabilities(
            ops.guide(logits, weight), options.temperature, options.top_k, options.top_p
        )
        tokens = ops.draw(p, rng.uniforms(seed, images, index, positions))
        # the same tokens go to both halves of guidance
        ids, rows = _both(tokens), queries
        canvas = canvas.copy()
        canvas[:, positions] = tokens
        picture = canvas.reshape(len(labels), *plan.grid)
        yield Step(index, len(plan.groups), positions, tokens, p, weight, picture)


def sample(
    ops, weights, config, plan, labels, seed=0, options=None, known=None, first=0
) -> np.ndarray:
    """Decode `plan` for each of `labels`; return tokens (b y x) int64. See `steps`."""
    tokens = None
    for step in steps(ops, weights, config, plan, labels, seed, options, known, first):
        tokens = step.canvas
    if tokens is not None:
        return tokens
    known = check_known(config, plan, len(labels), known)
    canvas = np.empty((len(labels), plan.grid[0] * plan.grid[1]), np.int64)
    canvas[:, list(plan.known)] = known
    return canvas.reshape(len(labels), *plan.grid)


def prefill(config, labels, positions, known):
    """Return ids and rows (2b n) that tell the model the class and the known tokens.

    The first b rows are told the class, the next b that there is no condition.
    """
    b = len(labels)
    classes = np.array([config.class_id(label) for label in labels])
    nothing = np.full(b, config.no_class_id)
    first = np.concatenate([classes, nothing])[:, None]
    ids = np.concatenate([first, _both(known)], axis=1)
    rows = np.concatenate([[0], np.asarray(positions, np.int64) + 1])
    return ids, np.ascontiguousarray(np.broadcast_to(rows, ids.shape))


def check_labels(config, labels):
    """Return labels as a tuple of class numbers of the model, or raise InputError."""
    labels = tuple(np.atleast_1d(labels).tolist())
    if not labels:
        raise InputError("no labels were given; give at least one class")
    for label in labels:
        if isinstance(label, bool) or not isinstance(label, int):
            raise InputError(f"class {label!r} is not a whole number")
        if not 0 <= label < config.classes:
            raise InputError(
                f"class {label} is not one of this model's {config.classes} classes, "
                f"0 .. {config.classes - 1}"
            )
    return labels


def check_known(config, plan, b, known):
    """Return the known tokens as (b k) int64, or raise InputError."""
    k = len(plan.known)
    known = np.empty((b, 0), np.int64) if known is None else np.asarray(known, np.int64)
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


def _both(rows):
    return np.concatenate([rows, rows])
