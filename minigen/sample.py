"""The one loop: at each step of a plan ask, guide, draw, write, and feed it back.

It serves every generator: `minigen.models` says what a model's module gives it. Before
it, `inputs` makes all that a run reads, on the host; `minigen.packing` brings that to
where the backend's arrays live, at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen import checks, flags, packing, plans, rng
from minigen.equality import digest, same
from minigen.families import family_of, module_of
from minigen.models import codes, masked
from minigen.models.codes import UNKNOWN
from minigen.models.query import Draws
from minigen.models.watching import tell
from minigen.options import Options, check_model

__all__ = [
    "UNKNOWN",
    "Inputs",
    "Options",
    "Step",
    "decode",
    "draw_codes",
    "draw_latents",
    "inputs",
    "kind_of",
    "prefill",
    "sample",
    "steps",
]


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
    """All that a run reads beside the weights.

    key (2) uint32: the words of the seed; prompt: what the model reads before the first
    question, in turn: pairs of tokens and of what `feed` takes; queries: of each step a
    `minigen.models.query.Query`; guidance: of each step its weight, None for none;
    guided: whether the model reads everything twice, with the class and without; room:
    for how many tokens, the class among them; canvas (b n ..): what is known, and what
    is written; table: what the model reads at every step beside its weights, such as a
    rotary table, or None.
    """

    key: np.ndarray
    prompt: tuple
    queries: tuple
    guidance: tuple[float | None, ...]
    guided: bool
    room: int
    canvas: np.ndarray
    table: np.ndarray | None = None


def kind_of(config) -> ModuleType:
    """Return the module of what a generator's tokens are: `codes`, or `masked`."""
    return {"vq": codes, "kl": masked}[family_of(config).tokenizer]


def inputs(
    ops, config, plan, labels, seed=0, options=None, known=None, first=0
) -> Inputs:
    """Return what a run reads, still on the host. Arguments as for `steps`."""
    model, kind = module_of(config), kind_of(config)
    options = options or Options()
    labels = checks.labels(labels, config.classes)
    first, b = checks.images(first, len(labels)), len(labels)
    plans.check_plan(plan)
    model.check_plan(config, plan)
    known = kind.check_known(config, plan, b, known)
    check_model(model, config, options)
    guided, k = model.guides(options.guidance), len(plan.known)
    last = (options.guided_steps or len(plan.groups)) if guided else 0
    weights = kind.guidance(options, k, plan.counts)
    return Inputs(
        key=np.array(rng.split_seed(seed), np.uint32),
        prompt=kind.prompt(model, config, labels, plan, known, options),
        queries=kind.queries(model, config, plan, np.arange(first, first + b), options),
        guidance=tuple(w if i < last else None for i, w in enumerate(weights)),
        guided=guided,
        room=1 + k + len(plan.order),
        canvas=kind.canvas(config, plan, b, known),
        table=kind.table(model, ops, config, plan.grid),
    )


def decode(ops, weights, config, options, given: Inputs, watch=None, noted=None):
    """Draw the tokens of each step, write them on the canvas, and yield them.

    given: packed, where the backend's arrays live, and so is what is yielded: the
    tokens (b m ..), the probabilities (b m v) that they were drawn from (None where
    tokens are vectors); and guidance's weight. Nothing here looks into an array, so
    nothing waits for one either; what is launched depends on the shapes alone. watch:
    told of the model's "state" before each question, and of what a head that draws
    tells.

    noted: of `flags.of_run`: it knows afterwards what went wrong on a device. On the
    host a step whose numbers are not finite raises NotFiniteError.
    """
    model, table = module_of(config), given.table
    latents = kind_of(config) is masked
    noted = noted or flags.of_run(ops, len(given.queries))
    b = given.canvas.shape[0]
    state = tokens = before = None
    for index, query in enumerate(given.queries):
        with noted.at(index):
            if before is None:
                state = prefill(ops, weights, config, given)
            else:
                # the same tokens go to both halves of guidance
                read = ops.twice(tokens) if given.guided else tokens
                state = model.feed(ops, weights, config, state, read, before, table)
            if watch is not None:
                watch("state", state)
            answer = model.ask(ops, weights, config, state, query.asked, table)
            guidance = given.guidance[index]
            # without guidance the conditional half is all there is to know
            answer = answer[:b] if guidance is None else answer
            draws = Draws(given.key, query.images, query.positions, index)
            if latents:
                how = weights, config, options, table, watch
                tokens, p = draw_latents(ops, answer, guidance, draws, *how), None
                ops.scatter(given.canvas, tokens, query.positions)
            else:
                tokens, p = draw_codes(ops, answer, guidance, draws, options)
                ops.place(given.canvas, tokens, query.positions)
            before = query.asked
        yield tokens, p, 1.0 if guidance is None else guidance


def prefill(ops, weights, config, given: Inputs):
    """Return the state of a model that has read the prompt."""
    model, table = module_of(config), given.table
    (tokens, asked), *rest = given.prompt
    state = model.begin(ops, weights, config, tokens, asked, table, given.room)
    for tokens, asked in rest:
        state = model.feed(ops, weights, config, state, tokens, asked, table)
    return state


def draw_codes(ops, logits, guidance, draws, options):
    """Draw tokens (b m) from logits; return them and the probabilities (b m v).

    logits: (2b m v), with the class and then without; or (b m v), where guidance is
    None. draws: `Draws` of images (b) and positions (m).
    """
    if guidance is not None:
        logits = ops.guide(logits, guidance)
    # a logit of -inf would have no probability, and nobody would see it in them
    logits = ops.check_finite(logits)
    p = ops.probabilities(logits, options.temperature, options.top_k, options.top_p)
    where = draws.key, draws.images, draws.positions, draws.step
    return ops.draw(p, ops.uniforms(*where, 0)), p


def draw_latents(ops, z, guidance, draws, weights, config, options, table, watch=None):
    """Draw tokens (b m f) by the model's head, from what the outer model said.

    z: (2b m d), with the class and then without; or (b m d), where guidance is None.
    draws: `Draws` of images (b m) and positions (b m).
    """
    b, m = draws.positions.shape
    tell(watch, "conditions", (draws.step, z))
    if guidance is None or guidance == 1:
        # the head takes both halves only if there is something to weigh
        z, guidance = z[:b], 1.0
    draws = replace(draws, positions=draws.positions.reshape(b * m))
    how = options.temperature, table, options.guided_draw, watch
    tokens = module_of(config).draw(ops, weights, config, z, draws, guidance, *how)
    return ops.check_finite(tokens)


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
    return _steps(ops, weights, config, plan, options, given, watch)


def _steps(ops, weights, config, plan, options, given, watch):
    kind, known_now = kind_of(config), list(plan.known)
    given = packing.pack(given).put(ops)
    noted = flags.of_run(ops, len(plan.counts))
    run = decode(ops, weights, config, options, given, watch, noted)
    for index, (tokens, p, weight) in enumerate(run):
        positions = kind.positions(plan.groups[index])
        known_now += plan.groups[index]
        # the canvas will be written again, and the tokens are read by the model
        picture = kind.show(np.array(ops.get(given.canvas)), plan.grid, known_now)
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
    given = inputs(ops, config, plan, labels, seed, options, known, first)
    given = packing.pack(given).put(ops)
    noted = flags.of_run(ops, len(plan.counts))
    for _ in decode(ops, weights, config, options, given, noted=noted):
        pass
    canvas = ops.get(given.canvas)
    noted.expect_clear()
    return canvas.reshape(len(canvas), *plan.grid, *canvas.shape[2:])
