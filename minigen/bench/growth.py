"""The cost of a token as an image grows: a state of fixed size, or a growing KV cache.

Two models of full size draw one image with both halves of guidance, by stand-in
weights. At each position a token is drawn as the loop does it: ask, guide, draw, read.
What a step takes follows from sizes alone, so no image is decoded up to a position: the
transformer's cache is filled with stand-in keys and values, AiM's state is the one
after the class, and the same step is taken again and again. Positions beyond those of
the presets get rows in larger tables.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

import numpy as np

from minigen import backends, rng
from minigen.bench import weights
from minigen.checkpoints.names import manifest
from minigen.checks import choice
from minigen.errors import InputError
from minigen.families import PRESETS, AimConfig, GptConfig, module_of
from minigen.memory import kept
from minigen.models.kv_cache import KVCache
from minigen.sample import Options

POSITIONS = (16, 256, 1024, 4096)
FLAT = 1.15
"""A cost is flat if the last position takes at most this many times the first."""


@dataclass(frozen=True)
class Point:
    """A position: rows that are read when its token is (the class is the first), bytes
    of all that is kept from token to token, and the seconds of each token."""

    position: int
    kept: int
    seconds: list

    @property
    def median(self) -> float:
        return median(self.seconds)


@dataclass(frozen=True)
class Curve:
    """What a model costs at each position.

    parameters: of the preset, without longer tables; keeps: "state" or "cache".
    """

    model: str
    parameters: int
    keeps: str
    points: list

    @property
    def slower(self) -> float:
        """The median time at the last position divided by that at the first."""
        return self.points[-1].median / self.points[0].median

    @property
    def larger(self) -> float:
        """The bytes kept at the last position divided by those at the first."""
        return self.points[-1].kept / self.points[0].kept


@dataclass(frozen=True)
class Growth:
    """What was measured: curves of the models, and how."""

    curves: list
    dtype: str
    backend: str
    rounds: int


def check(names: Sequence[str], positions: Sequence[int] = POSITIONS) -> None:
    """Raise InputError unless there are such models, AiM first, and positions."""
    for name, family in zip(names, (AimConfig, GptConfig), strict=True):
        choice("model", name, (n for n, c in PRESETS.items() if isinstance(c, family)))
    if not positions or any(a >= b for a, b in pairwise((1, *positions))):
        raise InputError(
            f"positions {tuple(positions)} are not numbers of at least 2 that rise"
        )


def measure(
    names: Sequence[str] = ("aim-b", "gpt-b"),
    positions: Sequence[int] = POSITIONS,
    rounds: int = 50,
    dtype: str = "float32",
    backend: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Growth:
    """Time `rounds` tokens of each model at each position, all in turns.

    names: presets of an AiM and a LlamaGen; say hears of progress. Raises InputError,
    BackendError.
    """
    check(names, positions)
    weights.pick(dtype)
    backend, ops = backends.pick(backend)
    curves, steps, times = [], [], []
    for name in names:
        say(f"{name}: drawing stand-in weights")
        config = enlarged(PRESETS[name], positions[-1])
        moved = backends.move(ops, weights.model(config, dtype, ops).weights)
        shapes = manifest(PRESETS[name]).values()
        curve = Curve(name, sum(map(math.prod, shapes)), "state", [])
        if isinstance(config, GptConfig):
            curve = replace(curve, keeps="cache")
        for position in positions:
            say(f"{name}: position {position}")
            state = state_at(ops, moved, config, position)
            step = new_step(ops, moved, config, position, state)
            curve.points.append(Point(position, kept(state), []))
            steps.append(step)
            times.append(curve.points[-1].seconds)
        curves.append(curve)
    for turn in range(rounds):
        say(f"round {turn + 1} of {rounds}")
        # whoever follows whom changes, so that no position has the warmer machine
        for i in rng.permutation(turn, len(steps)):
            start = time.perf_counter()
            steps[i]()
            times[i].append(time.perf_counter() - start)
    return Growth(curves, dtype, backend, rounds)


def enlarged(config, position: int):
    """Return a configuration whose square image has this position."""
    side = max(math.isqrt(position - 2) + 1, config.side)
    return replace(config, tokens=side * side)


def state_at(ops, weights, config, position: int):
    """Return the state of a model that has read all rows before `position`.

    The KV cache has capacity for these rows and that of the position.
    """
    model = module_of(config)
    none = np.empty((1, 0), np.int64)
    ((ids, rows),) = model.prompt(config, [0], none[0], none)
    table = model.rotary_table(ops, config)
    table = table if table is None else ops.put(table)
    given = ops.put(ids), ops.put(rows), table
    state = model.begin(ops, weights, config, *given, position)
    if isinstance(config, AimConfig):
        return state
    stand_ins = np.random.default_rng(position)

    def fill(array):
        return ops.put(stand_ins.random(array.shape, np.float32) - 0.5)

    layers = tuple(
        KVCache(fill(layer.keys), fill(layer.values), position - 1)
        for layer in state.layers
    )
    return replace(state, layers=layers)


def new_step(ops, weights, config, position: int, state) -> Callable[[], None]:
    """Return a function that draws a token and reads it, at that position.

    It has been run once before, and on a device it is recorded.
    """
    model, options = module_of(config), Options()
    call, table = (ops, weights, config), model.rotary_table(ops, config)
    table = table if table is None else ops.put(table)
    # the class has no position in the image
    raster = np.array([position - 2])
    rows = ops.put(np.tile(model.table_rows(raster, options), (2, 1)))
    key, images = ops.put(np.zeros(2, np.uint32)), ops.put(np.zeros(1, np.int64))
    raster = ops.put(raster)
    how = options.temperature, options.top_k, options.top_p

    def step():
        logits = ops.guide(model.ask(*call, state, rows, table), options.guidance)
        p = ops.probabilities(logits, *how)
        tokens = ops.draw(p, ops.uniforms(key, images, raster, position, 0))
        model.feed(*call, state, ops.twice(tokens), rows, table)

    step()
    if ops.device is None:
        return step
    with ops.device.record() as recording:
        step()

    def replay():
        recording.replay()
        ops.device.sync()

    return replay


def to_json(found: Growth) -> dict:
    """Return everything that was measured, ready for JSON."""
    curves = [
        {
            "model": curve.model, "parameters": curve.parameters, "keeps": curve.keeps,
            "slower": curve.slower, "flat": curve.slower <= FLAT,
            "larger": curve.larger,
            "points": [
                {"position": point.position, "bytes": point.kept,
                 "median": point.median, "seconds": point.seconds}
                for point in curve.points
            ],
        }
        for curve in found.curves
    ]  # fmt: skip
    about = {"dtype": found.dtype, "backend": found.backend, "rounds": found.rounds}
    return {**about, "batch": 1, "guidance": True, "curves": curves}
