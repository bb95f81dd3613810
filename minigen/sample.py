"""The sampling loop: at each step of a plan ask, guide, draw, write and feed.

It serves every generator; `minigen.models` lists the functions that it calls. Before
it, `inputs` makes all arrays that a run reads, on the host, and `minigen.packing` moves
them to the device of the backend, all at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigen import checks, confidence, flags, packing, plans, rng
from minigen.details import Details, details_of
from minigen.equality import digest, same
from minigen.errors import InputError
from minigen.families import family_of, module_of
from minigen.models import codes, masked
from minigen.models.arpg import READINGS
from minigen.models.query import Draws
from minigen.models.watching import tell
from minigen.options import Options, check_model


@dataclass(frozen=True, eq=False)
class Step:
    """One decoding step of b images, in which the tokens at m positions were drawn.

    index: of this step, from 0; steps: their number; positions (m) int64, in the order
    of the plan, or (b m) if they differ from image to image (`Plan.per_image`); tokens
    (b m) int64; probabilities (b m v) float32: what the tokens were drawn from, after
    guidance, temperature and filters; weight: of guidance, 1 if there was none; canvas
    (b y x) int64: every token so far, and UNKNOWN (-1) elsewhere; details: what the
    step could have drawn, if it was asked for, else None.

    If tokens are vectors, they are (b m f) float32, their positions rise, probabilities
    are None, and the canvas is (b y x f), NaN where unknown. Two steps are equal if all
    their arrays are, to the last bit.

    >>> from minigen import load
    >>> *_, last = load("arpg-mnist", backend="numpy").steps([7], steps=4)
    >>> last.index, last.positions.shape, last.tokens.shape, last.canvas.shape
    (3, (24,), (1, 24), (1, 8, 8))
    """

    index: int
    steps: int
    positions: NDArray[np.int64] = field(repr=False)
    tokens: NDArray[Any] = field(repr=False)
    probabilities: NDArray[np.float32] | None = field(repr=False)
    weight: float
    canvas: NDArray[Any] = field(repr=False)
    details: Details | None = field(default=None, repr=False)

    __eq__ = same
    __hash__ = digest

    def _repr_png_(self) -> bytes:
        # a notebook shows this
        from minigen.show import cells

        return cells.of_step(self)


@dataclass(frozen=True, eq=False)
class Inputs:
    """All arrays and numbers that a run reads beside the weights.

    key (2) uint32: the words of the seed; prompt: what `prefill` reads, in turn: pairs
    (tokens, where), as `feed` takes them; queries: a `models.query.Query` for
    each step; guidance: the weight of each step, None for none; guided: whether the
    model reads everything twice, with the class and without; room: the capacity of the
    KV cache in tokens, the class included; canvas (b n ..): known tokens; the loop
    writes to it; table: what the model reads at every step, such as a rotary table, or
    None; control (w 1+n) int64: condition tokens, of a model that takes any
    (`minigen.models.arpg.control`), else None; kept: tokens kept at each step of the
    order confidence, which has one query, of all that is unknown; else empty.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> given = inputs(pipe.ops, pipe.config, pipe.plan(), [7])
    >>> given.room, given.guided, given.canvas.shape  # the class, and 64 tokens
    (65, True, (1, 64))
    """

    key: np.ndarray
    prompt: tuple
    queries: tuple
    guidance: tuple[float | None, ...]
    guided: bool
    room: int
    canvas: np.ndarray
    table: np.ndarray | None = None
    control: np.ndarray | None = None
    kept: tuple[int, ...] = ()


def kind_of(config) -> ModuleType:
    """Return the module of a generator's kind of tokens: `codes` or `masked`.

    >>> from minigen.families import ArpgConfig, MarConfig
    >>> kind_of(ArpgConfig()).__name__, kind_of(MarConfig()).__name__
    ('minigen.models.codes', 'minigen.models.masked')
    """
    return {"vq": codes, "kl": masked}[family_of(config).tokenizer]


def inputs(
    ops, config, plan, labels, seed=0, options=None, known=None, first=0, control=None
) -> Inputs:
    """Return the `Inputs` of a run, on the host. Arguments as for `steps`.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> given = inputs(pipe.ops, pipe.config, pipe.plan(steps=4), [7])
    >>> [query.positions.size for query in given.queries]
    [5, 14, 21, 24]
    """
    model, kind = module_of(config), kind_of(config)
    options = options or Options()
    labels = checks.labels(labels, config.classes)
    # in every table of classes the row after the last one stands for none
    labels = [config.classes if n == checks.NO_CLASS else n for n in labels]
    first, b = checks.images(first, len(labels)), len(labels)
    plans.check_plan(plan)
    model.check_plan(config, plan)
    known = kind.check_known(config, plan, b, known)
    control = codes.check_control(config, plan.grid, b, control)
    check_model(model, config, plan, options)
    guided, k = model.guides(options.guidance), len(plan.known)
    last = (options.guided_steps or len(plan.groups)) if guided else 0
    guidance = kind.guidance(options, k, plan.counts)
    return Inputs(
        key=np.array(rng.split_seed(seed), np.uint32),
        prompt=kind.prompt(model, config, labels, plan, known, options),
        queries=kind.queries(model, config, plan, np.arange(first, first + b), options),
        guidance=tuple(w if i < last else None for i, w in enumerate(guidance)),
        guided=guided,
        room=1 + k + len(plan.order),
        canvas=kind.canvas(config, plan, b, known),
        table=kind.table(model, ops, config, plan.grid),
        control=codes.controls(model, config, control, guided),
        kept=plan.counts if plan.per_image == "confidence" else (),
    )


def decode(ops, weights, config, options, given: Inputs, watch=None, noted=None):
    """Draw the tokens of each step, write them on the canvas, and yield them.

    given: packed and moved to the device. Yields for each step the positions, as in a
    `Query`, the tokens (b m ..), the probabilities (b m v) that they were drawn from
    (None if tokens are vectors), all on the device, and the weight of guidance. The
    loop never looks into an array of a device, so it never waits, but for the order
    confidence (`minigen.confidence`); which kernels are launched depends on shapes
    alone.

    watch: called as watch("state", state) before each `ask`; a head that draws calls it
    too. noted: from `flags.of_run`; it knows afterwards what went wrong on a device. On
    the host a step whose numbers are not finite raises NotFiniteError.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> model = pipe.ops, pipe.generator.weights, pipe.config
    >>> given = inputs(pipe.ops, pipe.config, pipe.plan(steps=4), [7])
    >>> given = packing.pack(given).put(pipe.ops)
    >>> [tokens.shape for _, tokens, *_ in decode(*model, Options(), given)]
    [(1, 5), (1, 14), (1, 21), (1, 24)]
    """
    model, table, causal = module_of(config), given.table, READINGS[options.reading]
    latents = kind_of(config) is masked
    count = len(given.guidance)
    noted = noted or flags.of_run(ops, count)
    b = given.canvas.shape[0]
    state = tokens = last = left = None
    queries = iter(given.queries)
    for index, weight in enumerate(given.guidance):
        with noted.at(index):
            query = left or next(queries)
            if last is None:
                state = prefill(ops, weights, config, options, given)
            else:
                # the same tokens go to both halves of guidance
                read = ops.twice(tokens) if given.guided else tokens
                call = state, read, last.asked, table, causal
                state = model.feed(ops, weights, config, *call)
            if watch is not None:
                watch("state", state)
            answer = model.ask(ops, weights, config, state, query.asked, table)
            if weight is None:
                # of what may have been computed twice, the half with the class
                answer = answer[:b]
            draws = Draws(given.key, query.images, query.positions, index)
            if latents:
                p = None
                tokens = draw_latents(
                    ops, answer, weight, draws, weights, config, options, table, watch
                )
                ops.scatter(given.canvas, tokens, query.positions)
            else:
                tokens, p = draw_codes(ops, answer, weight, draws, options)
                if given.kept:
                    noise = options.confidence_noise * (1 - (index + 1) / count)
                    query, tokens, p, left = confidence.keep(
                        ops, draws, query, tokens, p, given.kept[index], noise
                    )
                write(ops, given.canvas, tokens, query.positions)
            last = query
        yield query.positions, tokens, p, 1.0 if weight is None else weight


def prefill(ops, weights, config, options, given: Inputs):
    """Return the state of the model after it has read the prompt.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> plan = pipe.plan(steps=4, known=[0, 1])
    >>> given = inputs(pipe.ops, pipe.config, plan, [7], known=np.array([[5, 6]]))
    >>> model = pipe.ops, pipe.generator.weights, pipe.config
    >>> prefill(*model, Options(), given).shared.length  # the class, and two tokens
    3
    """
    model, table = module_of(config), given.table
    causal = READINGS[options.known_reading]
    (tokens, where), *rest = given.prompt
    state = model.begin(ops, weights, config, tokens, where, table, given.room, causal)
    for tokens, where in rest:
        state = model.feed(ops, weights, config, state, tokens, where, table, causal)
    if given.control is not None:
        state = model.control(ops, weights, config, state, given.control)
    return state


def draw_codes(ops, logits, weight, draws, options):
    """Draw tokens (b m) from logits; return them and the probabilities (b m v).

    logits: (2b m v), first b rows with the class, then without; or (b m v), if weight,
    of guidance, is None.

    >>> from minigen import backends
    >>> draws = Draws(np.zeros(2, np.uint32), np.array([0]), np.array([0, 1]), step=0)
    >>> logits = np.array([[[0, 50], [50, 0]]], np.float32)  # both as good as sure
    >>> tokens, p = draw_codes(backends.table("numpy"), logits, None, draws, Options())
    >>> tokens.tolist(), p.shape
    ([[1, 0]], (1, 2, 2))
    """
    if weight is not None:
        logits = ops.guide(logits, weight)
    # softmax makes 0 of a logit of -inf, and then all would look well
    logits = ops.check_finite(logits)
    p = ops.probabilities(logits, options.temperature, options.top_k, options.top_p)
    return ops.draw(p, uniforms(ops, draws)), p


def uniforms(ops, draws):
    """Return the uniform numbers (b m) of a step: of every image and position one.

    >>> from minigen import backends
    >>> key, images, positions = np.zeros(2, np.uint32), np.array([0, 1]), np.arange(3)
    >>> uniforms(backends.table("numpy"), Draws(key, images, positions, step=0)).shape
    (2, 3)
    """
    shape = draws.positions.shape
    if len(shape) == 1:
        # all images ask for the same positions
        return ops.uniforms(draws.key, draws.images, draws.positions, draws.step, 0)
    cells = draws.key, draws.images, draws.positions.reshape(-1), draws.step
    return ops.uniforms_at(*cells, 0, 1).reshape(shape)


def write(ops, canvas, tokens, positions):
    """Write tokens (b m) on a canvas (b n), in place. positions: (m) or (b m).

    >>> from minigen import backends
    >>> canvas = np.full((1, 4), -1)
    >>> write(backends.table("numpy"), canvas, np.array([[5, 6]]), np.array([3, 0]))
    >>> canvas.tolist()
    [[6, -1, -1, 5]]
    """
    if len(positions.shape) == 1:
        ops.place(canvas, tokens, positions)
    else:
        # a row of one number for each token
        canvas, tokens = (x.reshape(*x.shape, 1) for x in (canvas, tokens))
        ops.scatter(canvas, tokens, positions)


def draw_latents(ops, z, weight, draws, weights, config, options, table, watch=None):
    """Draw tokens (b m f) by the model's head, conditioned on the outer model.

    z: conditioning vectors (2b m d), first b rows with the class, then without; or (b m
    d), if weight, of guidance, is None. draws: positions (b m), and the image of each
    in a flat array of b m.

    >>> from minigen import load
    >>> pipe, options = load("arinar-mnist", backend="numpy"), Options(guidance=1)
    >>> model = pipe.generator.weights, pipe.config
    >>> key, image, position = np.zeros(2, np.uint32), np.array([0]), np.array([[5]])
    >>> z = np.zeros((1, 1, pipe.config.width), np.float32)
    >>> draws = Draws(key, image, position, step=0)
    >>> draw_latents(pipe.ops, z, None, draws, *model, options, table=None).shape
    (1, 1, 4)
    """
    b, m = draws.positions.shape
    tell(watch, "conditions", (draws.step, z))
    if weight is None or weight == 1:
        # guidance 1 needs the conditional half only
        z, weight = z[:b], 1.0
    draws = replace(draws, positions=draws.positions.reshape(b * m))
    temperature, way = options.temperature, options.guided_draw
    draw = module_of(config).draw
    tokens = draw(
        ops, weights, config, z, draws, weight, temperature, table, way, watch
    )
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
    details=False,
    control=None,
) -> Iterator[Step]:
    """Decode `plan` for each of `labels` and yield every step.

    ops: a table of `minigen.backends`; labels: b class numbers, -1 for no class, where
    guidance changes nothing, for both of its halves are the same (but for a control);
    known (b k) or (b k f): the tokens at plan.known; first: the number of the first
    image, a counter of its random numbers; watch: as for `decode`; details: whether
    each step has `minigen.details.Details`, for tokens that are codes; control (b y x),
    or (1 y x) for all: the condition tokens of a model that takes any. Raises
    InputError, and NotFiniteError if the numbers of a step are not finite.

    Source: hp-l33/ARPG models/arpg.py::generate; known tokens are read with the class,
    before the first step. FoundationVision/LlamaGen autoregressive/models/generate.py;
    hp-l33/AiM models/stage2/generation.py.

    >>> from minigen import load
    >>> pipe = load("arpg-mnist", backend="numpy")
    >>> plan = plans.plan((8, 8), schedule="linear", steps=4)
    >>> run = steps(pipe.ops, pipe.generator.weights, pipe.config, plan, [3, 7])
    >>> [(step.index, step.tokens.shape) for step in run]
    [(0, (2, 16)), (1, (2, 16)), (2, (2, 16)), (3, (2, 16))]
    """
    options = options or Options()
    given = inputs(ops, config, plan, labels, seed, options, known, first, control)
    if details and kind_of(config) is masked:
        raise InputError(
            "details are logits and probabilities of codes, and this model's tokens "
            "are vectors, which have neither; leave details out"
        )
    return _steps(ops, weights, config, plan, options, given, watch, details)


def _steps(ops, weights, config, plan, options, given, watch, detailed):
    heard = {}

    def listen(name, value):
        heard[name] = value
        tell(watch, name, value)

    kind, b = kind_of(config), len(given.canvas)
    known = np.tile(np.array(plan.known, np.int64), (b, 1))
    given = packing.pack(given).put(ops)
    noted = flags.of_run(ops, len(plan.counts))
    listener = listen if detailed else watch
    run = decode(ops, weights, config, options, given, listener, noted)
    for index, (positions, tokens, p, weight) in enumerate(run):
        positions = np.broadcast_to(ops.get(positions), tokens.shape[:2])
        more = None
        if detailed:
            drawn = positions, np.array(ops.get(tokens))
            model, state = (ops, weights, config), heard["state"]
            step = options, given.guidance[index], known, drawn, given
            with noted.at(index):
                more = details_of(model, state, *step)
        known = np.concatenate([known, positions], axis=1)
        if plan.per_image is None:
            positions = positions[0]
        # copies: the canvas is written again, and the model reads the tokens
        picture = kind.show(np.array(ops.get(given.canvas)), plan.grid, known)
        drawn = np.array(ops.get(tokens)), None if p is None else ops.get(p), weight
        noted.expect_clear()
        where = index, len(plan.groups), np.array(positions)
        yield Step(*where, *drawn, picture, more)


def sample(
    ops,
    weights,
    config,
    plan,
    labels,
    seed=0,
    options=None,
    known=None,
    first=0,
    control=None,
) -> np.ndarray:
    """Decode `plan` for each of `labels`; return tokens (b y x), or (b y x f).

    Arguments as for `steps`. Only the last canvas is copied back from the device.

    >>> from minigen import load
    >>> pipe, plan = load("arpg-mnist", backend="numpy"), plans.plan((8, 8), steps=4)
    >>> sample(pipe.ops, pipe.generator.weights, pipe.config, plan, [3, 7]).shape
    (2, 8, 8)
    """
    options = options or Options()
    given = inputs(ops, config, plan, labels, seed, options, known, first, control)
    given = packing.pack(given).put(ops)
    noted = flags.of_run(ops, len(plan.counts))
    for _ in decode(ops, weights, config, options, given, noted=noted):
        pass
    canvas = ops.get(given.canvas)
    noted.expect_clear()
    return canvas.reshape(len(canvas), *plan.grid, *canvas.shape[2:])
