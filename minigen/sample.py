"""The one loop: at each step of a plan ask, guide, draw, write, let the model read.

It serves every generator: `minigen.models` says what a model's module gives it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen import checks, flags, plans, rng
from minigen.equality import digest, same
from minigen.families import AimConfig, ArinarConfig, ArpgConfig, GptConfig, MarConfig
from minigen.models import aim, arinar, arpg, codes, llamagen, mar, masked
from minigen.models.codes import UNKNOWN
from minigen.options import Options, check_model

__all__ = [
    "KINDS",
    "MODELS",
    "UNKNOWN",
    "Inputs",
    "Options",
    "Step",
    "arrays",
    "decode",
    "inputs",
    "put",
    "sample",
    "steps",
]

MODELS = {
    ArpgConfig: arpg,
    GptConfig: llamagen,
    AimConfig: aim,
    ArinarConfig: arinar,
    MarConfig: mar,
}
"""The module of each generator, by its configuration."""

KINDS = {config: codes for config in (ArpgConfig, GptConfig, AimConfig)}
KINDS |= {config: masked for config in (ArinarConfig, MarConfig)}
"""The module of what a generator's tokens are, by its configuration: codes, vectors."""


@dataclass(frozen=True, eq=False)
class Step:
    """One decoding step of b images: m positions were asked for and drawn.

    index: of this step, counted from 0; steps: how many there are; positions (m) int64,
    in the order of the plan; tokens (b m) int64; probabilities (b m v) float32, after
    guidance, temperature and filters: what the tokens were drawn from; weight: of
    guidance, 1 where there was none; canvas (b y x) int64: every token so far, and
    UNKNOWN (-1) elsewhere. Steps are equal that hold the same, to the last bit.

    Where tokens are vectors, they are (b m f) float32, their positions rise, there are
    no probabilities, and the canvas is (b y x f), NaN where nothing is known.
    """

    index: int
    steps: int
    positions: NDArray[np.int64] = field(repr=False)
    tokens: NDArray[Any] = field(repr=False)
    probabilities: NDArray[np.float32] | None = field(repr=False)
    weight: float
    canvas: NDArray[Any] = field(repr=False)

    __eq__ = same
    __hash__ = digest


@dataclass(frozen=True, eq=False)
class Inputs:
    """All that a run reads beside the weights, in arrays that are moved there once.

    key (2) uint32: the words of the seed; images (b): their numbers; positions (n):
    raster positions in the order of the plan; known_positions (k), known (b k): what is
    known; ids, rows: what the model is told first; queries: all the indices that its
    steps ask with, flat, one after the other (`lay_out` of its kind); table: what it
    reads at every step beside its weights, such as a rotary table, or None. Indices are
    int64. Where tokens are vectors, known is (b k f) float32. w of the models is 2b, or
    b without guidance: then nobody needs the unconditional half.
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
    model, kind = MODELS[type(config)], KINDS[type(config)]
    options = options or Options()
    labels = checks.labels(labels, config.classes)
    first = checks.images(first, len(labels))
    plans.check_plan(plan)
    model.check_plan(config, plan)
    known = kind.check_known(config, plan, len(labels), known)
    kind.check_options(options)
    check_model(model, config, options)
    ids, rows = kind.prompt(model, config, labels, plan, known, options)
    images = np.arange(first, first + len(labels))
    return Inputs(
        key=np.array(rng.split_seed(seed), np.uint32),
        images=images,
        positions=np.array(plan.order, np.int64),
        known_positions=np.array(plan.known, np.int64),
        known=known,
        ids=ids,
        rows=rows,
        queries=kind.lay_out(model, config, plan, images, options),
        table=kind.table(model, ops, config, plan.grid),
    )


def put(ops, given: Inputs) -> Inputs:
    """Return the inputs where the backend's arrays live."""
    return Inputs(**{name: ops.put(array) for name, array in arrays(given).items()})


def arrays(given: Inputs) -> dict:
    """Return the arrays of the inputs by name, without those that are None."""
    return {name: array for name, array in vars(given).items() if array is not None}


def decode(
    ops,
    weights,
    config,
    counts,
    options,
    given: Inputs,
    canvas,
    watch=None,
    noted=None,
):
    """Decode counts[i] tokens in step i, write them on the canvas, and yield them.

    given, canvas (b y*x): where the backend's arrays live, and so is what is yielded:
    the tokens (b m), the probabilities (b m v) they were drawn from (None where tokens
    are vectors); and guidance's weight. Nothing here looks into an array, so nothing
    waits for one either; what is launched depends on the shapes alone. watch: told of
    the model's "state" before each question, and of what a head that draws tells.

    noted: of `flags.of_run`: it knows afterwards what went wrong on a device. On the
    host a step whose numbers are not finite raises NotFiniteError.
    """
    model, kind = MODELS[type(config)], KINDS[type(config)]
    guided = model.guides(options.guidance)
    b, n, k = given.images.shape[0], sum(counts), given.known_positions.shape[0]
    call, table = (ops, weights, config), given.table
    noted = noted or flags.of_run(ops, len(counts))
    guided_steps = options.guided_steps or len(counts)
    decoded, place, tokens = 0, None, None
    for index, m in enumerate(counts):
        with noted.at(index):
            if index == 0:
                state = model.begin(*call, given.ids, given.rows, table, 1 + k + n)
                state = kind.remember(model, call, state, given)
            else:
                # the same tokens go to both halves of guidance
                read = ops.twice(tokens) if guided else tokens
                state = model.feed(*call, state, read, place.query, table)
            place = kind.place(config, given, counts, index)
            decoded += m
            if watch is not None:
                watch("state", state)
            answer = model.ask(*call, state, place.query, table)
            weight = None
            if guided and index < guided_steps:
                weight = kind.guidance_weight(options, k, decoded, n)
            # without guidance the conditional half stays as it is
            answer = answer[:b] if weight is None else answer
            how = place, given, weight, options, watch
            tokens, p = kind.draw(model, call, answer, *how)
            kind.write(ops, canvas, tokens, place)
        yield tokens, p, 1.0 if weight is None else weight


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

    ops: a table of `minigen.backends`; labels: b class numbers; known (b k) or (b k f):
    the tokens at plan.known; first: the number of the first image, which its draws
    depend on; watch: as for `decode`. Raises InputError, and NotFiniteError for a step
    that comes to numbers that are not finite.

    Source: hp-l33/ARPG models/arpg.py::generate; with known tokens, its cache holds the
    class and them before the first question. FoundationVision/LlamaGen
    autoregressive/models/generate.py; hp-l33/AiM models/stage2/generation.py.
    """
    options = options or Options()
    given = inputs(ops, config, plan, labels, seed, options, known, first)
    return _steps(ops, weights, config, plan, options, put(ops, given), watch)


def _steps(ops, weights, config, plan, options, given, watch):
    kind, known_now = KINDS[type(config)], list(plan.known)
    canvas = kind.new_canvas(ops, config, plan.grid, given)
    noted = flags.of_run(ops, len(plan.counts))
    call = ops, weights, config, plan.counts, options, given, canvas
    run = decode(*call, watch, noted)
    for index, (tokens, p, weight) in enumerate(run):
        positions = kind.positions(plan.groups[index])
        known_now += plan.groups[index]
        # the canvas will be written again, and the tokens are read by the model
        picture = kind.show(np.array(ops.get(canvas)), plan.grid, known_now)
        drawn = np.array(ops.get(tokens)), None if p is None else ops.get(p), weight
        noted.expect_clear()
        yield Step(index, len(plan.groups), positions, *drawn, picture)


def sample(
    ops, weights, config, plan, labels, seed=0, options=None, known=None, first=0
) -> np.ndarray:
    """Decode `plan` for each of `labels`; return tokens (b y x), or (b y x f). See
    `steps`.

    Only the last canvas comes back from where the backend's arrays live.
    """
    options = options or Options()
    given = put(ops, inputs(ops, config, plan, labels, seed, options, known, first))
    canvas = KINDS[type(config)].new_canvas(ops, config, plan.grid, given)
    noted = flags.of_run(ops, len(plan.counts))
    call = ops, weights, config, plan.counts, options, given, canvas
    for _ in decode(*call, noted=noted):
        pass
    canvas = ops.get(canvas)
    noted.expect_clear()
    return canvas.reshape(len(canvas), *plan.grid, *canvas.shape[2:])
