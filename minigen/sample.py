"""The one loop: at each step of a plan ask, guide, draw, write, let the model read.

It serves every generator: `minigen.models` says what a model's module gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from minigen import plans, rng
from minigen.config import AimConfig, ArpgConfig, GptConfig
from minigen.errors import InputError
from minigen.models import aim, arpg, llamagen

MODELS = {ArpgConfig: arpg, GptConfig: llamagen, AimConfig: aim}
"""The module of each generator, by its configuration."""

UNKNOWN = -1
"""What a canvas holds where no token is known yet."""


@dataclass(frozen=True)
class Options:
    """How tokens are drawn; the same for every step.

    guidance 1 turns guidance off in effect; guided_steps: how many of the first steps
    are guided, None for all (in LlamaGen's terms two more than cfg_interval);
    temperature 0 is greedy but for near-ties; top_k 0 and top_p 1 keep every token;
    positions: a name of `aim.POSITIONS`, which no other model asks for.
    """

    guidance: float = 4.0
    guidance_schedule: str = "linear"
    guided_steps: int | None = None
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    positions: str = "released"

    def __post_init__(self):
        if not np.isfinite(self.guidance):
            raise InputError(f"guidance {self.guidance} is not a finite number")
        n = self.guided_steps
        if n is not None and (isinstance(n, bool) or int(n) != n or n < 1):
            raise InputError(
                f"guided_steps {n!r} is not a whole number above 0 (None is all steps)"
            )
        if not (np.isfinite(self.temperature) and self.temperature >= 0):
            raise InputError(
                f"temperature {self.temperature} is not a number of at least 0"
            )
        if isinstance(self.top_k, bool) or int(self.top_k) != self.top_k:
            raise InputError(f"top_k {self.top_k!r} is not a whole number (0 is off)")
        if np.isnan(self.top_p):
            raise InputError("top_p is not a number (1 is off)")
        if self.positions not in aim.POSITIONS:
            raise InputError(
                f"positions {self.positions!r} are not known; choose "
                + ", ".join(aim.POSITIONS)
            )
        plans.guidance_weight(self.guidance_schedule, self.guidance, 1, 1)


@dataclass(frozen=True)
class Step:
    """One decoding step of b images: m positions were asked for and drawn.

    positions (m) int64; tokens (b m) int64; probabilities (b m v) float32, after
    guidance, temperature and filters: what the tokens were drawn from; weight: of
    guidance, 1 where there was none; canvas (b y x) int64, every token so far, UNKNOWN
    elsewhere.
    """

    index: int
    steps: int
    positions: np.ndarray = field(repr=False)
    tokens: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    weight: float
    canvas: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Inputs:
    """All that a run reads beside the weights, in arrays that are moved there once.

    key (2) uint32: the words of the seed; images (b): their numbers; positions (n):
    raster positions in the order of the plan; known_positions (k), known (b k): what is
    known; ids, rows: what the model is told first, as its `prompt` lays it out;
    queries: of each step the rows (w m) of the model's table that it asks for, all of
    them flat, one after the other; table (t e/2 2): the rotary table, None for a model
    that has none. Indices are int64. w is 2b, or b without guidance: then nobody needs
    the unconditional half.
    """

    key: np.ndarray
    images: np.ndarray
    positions: np.ndarray
    known_positions: np.ndarray
    known: np.ndarray
    ids: np.ndarray
    rows: np.ndarray
    queries: np.ndarray
    table: np.ndarray | None = None


def inputs(
    ops, config, plan, labels, seed=0, options=None, known=None, first=0
) -> Inputs:
    """Return what a run reads, still on the host. Arguments as for `steps`."""
    model, options = MODELS[type(config)], options or Options()
    labels = check_labels(config, labels)
    known = check_known(config, plan, len(labels), known)
    model.check_plan(config, plan)
    guided = model.guides(options.guidance)
    known_rows = model.table_rows(plan.known, options)
    ids, rows = model.prompt(config, labels, known_rows, known, guided)
    times = len(labels) * (2 if guided else 1)
    asked = [np.tile(model.table_rows(g, options), times) for g in plan.groups]
    return Inputs(
        key=np.array(rng.split_seed(seed), np.uint32),
        images=np.arange(first, first + len(labels)),
        positions=np.array(plan.order, np.int64),
        known_positions=np.array(plan.known, np.int64),
        known=known,
        ids=ids,
        rows=rows,
        queries=np.concatenate([*asked, np.empty(0, np.int64)]),
        table=model.rotary_table(ops, config, plan.grid),
    )


def put(ops, given: Inputs) -> Inputs:
    """Return the inputs where the backend's arrays live."""
    return Inputs(**{name: ops.put(array) for name, array in arrays(given).items()})


def arrays(given: Inputs) -> dict:
    """Return the arrays of the inputs by name, without those that are None."""
    return {name: array for name, array in vars(given).items() if array is not None}


def decode(ops, weights, config, counts, options, given: Inputs, canvas, watch=None):
    """Decode counts[i] tokens in step i, write them on the canvas, and yield them.

    given, canvas (b y*x): where the backend's arrays live, and so is what is yielded:
    the tokens (b m), the probabilities (b m v) they were drawn from; and guidance's
    weight. Nothing here looks into an array, so nothing waits for one either; what is
    launched depends on the shapes alone. watch: told of the model's "state" before
    each question.
    """
    model = MODELS[type(config)]
    guided = model.guides(options.guidance)
    b, n = given.images.shape[0], sum(counts)
    w = 2 * b if guided else b
    call, table = (ops, weights, config), given.table
    room = 1 + given.known_positions.shape[0] + n
    state = model.begin(*call, given.ids, given.rows, table, room)
    decoded = 0
    for index, m in enumerate(counts):
        positions = given.positions[decoded : decoded + m]
        queries = given.queries[w * decoded : w * (decoded + m)].reshape(w, m)
        decoded += m
        if watch is not None:
            watch("state", state)
        logits = model.ask(*call, state, queries, table)
        weight = _weight(options, index, decoded, n) if guided else None
        # without guidance the conditional half stays as it is
        logits = logits[:b] if weight is None else ops.guide(logits, weight)
        how = options.temperature, options.top_k, options.top_p
        p = ops.probabilities(logits, *how)
        tokens = ops.draw(p, ops.uniforms(given.key, given.images, positions, index, 0))
        ops.place(canvas, tokens, positions)
        yield tokens, p, 1.0 if weight is None else weight
        if decoded < n:
            # the same tokens go to both halves of guidance
            ids = ops.twice(tokens) if guided else tokens
            state = model.feed(*call, state, ids, queries, table)


def steps(
    ops,
    weights,
    config,
    plan,
    labels,
    seed=0,
    options=None,
    known=None,
    first=0,
    watch=None,
) -> Iterator[Step]:
    """Decode `plan` for each of `labels` and yield every step.

    ops: a table of `minigen.backends`; labels: b class numbers; known (b k) int64: the
    tokens at plan.known; first: the number of the first image, which its draws depend
    on; watch: as for `decode`. Raises InputError.

    Source: hp-l33/ARPG models/arpg.py::generate; with known tokens, its cache holds the
    class and them before the first question. FoundationVision/LlamaGen
    autoregressive/models/generate.py; hp-l33/AiM models/stage2/generation.py.
    """
    options = options or Options()
    given = put(ops, inputs(ops, config, plan, labels, seed, options, known, first))
    canvas = new_canvas(ops, plan.grid, given)
    run = decode(ops, weights, config, plan.counts, options, given, canvas, watch)
    for index, (tokens, p, weight) in enumerate(run):
        # the canvas will be written again
        picture = np.array(ops.get(canvas)).reshape(-1, *plan.grid)
        positions = np.array(plan.groups[index], np.int64)
        drawn = ops.get(tokens), ops.get(p), weight
        yield Step(index, len(plan.groups), positions, *drawn, picture)


def sample(
    ops, weights, config, plan, labels, seed=0, options=None, known=None, first=0
) -> np.ndarray:
    """Decode `plan` for each of `labels`; return tokens (b y x) int64. See `steps`.

    Only the last canvas comes back from where the backend's arrays live.
    """
    options = options or Options()
    given = put(ops, inputs(ops, config, plan, labels, seed, options, known, first))
    canvas = new_canvas(ops, plan.grid, given)
    for _ in decode(ops, weights, config, plan.counts, options, given, canvas):
        pass
    return ops.get(canvas).reshape(-1, *plan.grid)


def new_canvas(ops, grid, given: Inputs):
    """Return a canvas (b y*x) on which nothing stands but what is known."""
    canvas = ops.full((given.images.shape[0], grid[0] * grid[1]), UNKNOWN)
    if given.known_positions.shape[0]:
        ops.place(canvas, given.known, given.known_positions)
    return canvas


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


def _weight(options, index, decoded, n):
    # of guidance in a step that brings `decoded` of n tokens, None for none
    if options.guided_steps is not None and index >= options.guided_steps:
        return None
    schedule, guidance = options.guidance_schedule, options.guidance
    return plans.guidance_weight(schedule, guidance, decoded, n)
