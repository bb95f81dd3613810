"""What a specification says, what follows from it for one case, and what several share.

Each op's specifications stand beside it, in `minigen/ops/<op>/spec.py`. They need no
hypothesis: what a case is drawn with is handed to them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from minigen.checking import tolerance
from minigen.checking.tolerance import EPS, TINY

FLUSHED = 2 * TINY / EPS
"""An exponential below the smallest normal number may be zero: in units of eps."""

SCALES = (1.0, 5.0, 100.0)
"""Scales of arguments of exp: some so large that it overflows, or is zero."""

LONG_ROWS = ({"d": 300},)
"""Routes of what a block of threads takes several turns for."""


@dataclass(frozen=True)
class Spec:
    """What one function of the op table may be given, and what it must return.

    name: the function. draw(by) returns a case, a dict of the reference's arguments in
    their order; by: a `minigen.checking.strategies.Draw`.

    How a result is judged: where `magnitude(case)` is given, by its distance from the
    reference in float64; where `judge(case, result)` is given, by the errors it returns
    in eps; where neither is, it must equal the reference bit for bit. A function that
    returns several results has a magnitude for each of them.

    batched: arguments whose permutation along `axis` permutes all results in the same
    way, bit for bit. changes: arguments that are written in place: they are the last
    results, in this order.

    of, launcher: the reference, and a function launcher(device, **case) that launches
    the kernel and returns its results; None of an op, in whose folder they are found.

    routes: what is fixed of cases that a CUDA launcher handles in another way, with
    another kernel or in more turns of its threads: sizes by letter, "dtypes" of
    weights, "given" (whether all optional arguments are), and arguments by name.
    """

    name: str
    draw: Callable
    magnitude: Callable | None = None
    judge: Callable | None = None
    batched: tuple[str, ...] = ()
    axis: int = 0
    changes: tuple[str, ...] = ()
    routes: tuple[dict, ...] = ()
    of: Callable | None = None
    launcher: Callable | None = None

    @property
    def op(self) -> str:
        """The folder of the op, in which it stands."""
        return self.draw.__module__.split(".")[-2]


def reference(spec):
    """Return the function of the reference that a specification is about."""
    if spec.of is not None:
        return spec.of
    module = importlib.import_module(f"minigen.ops.{spec.op}.reference")
    return getattr(module, spec.name)


def wide(case) -> dict:
    """Return a case with all its floating-point arrays in float64."""
    return {
        name: value.astype(np.float64) if is_floating(value) else value
        for name, value in case.items()
    }


def in_float64(*arrays) -> list:
    """Return the arrays in float64."""
    return [array.astype(np.float64) for array in arrays]


def absolute(case) -> dict:
    """Return a case in float64 with all its signs dropped."""
    return {
        name: abs(value) if is_floating(value) else value
        for name, value in wide(case).items()
    }


def is_floating(value) -> bool:
    """Say whether it is an array of floating-point numbers, bfloat16 among them."""
    if not isinstance(value, np.ndarray):
        return False
    return value.dtype.kind == "f" or value.dtype.name == "bfloat16"


def each(function, *results):
    """Return function(result), or the tuple of those of several results.

    >>> each(abs, -1), each(max, (1, 2), (4, 0))
    (1, (4, 2))
    """
    if isinstance(results[0], tuple):
        return tuple(map(function, *results))
    return function(*results)


def several(result) -> tuple:
    """Return the results of a function as a tuple, also if it has only one."""
    return result if isinstance(result, tuple) else (result,)


def written(spec, result) -> dict:
    """Return, by their names, those of the results that are written in place."""
    last = several(result)[-len(spec.changes) :]
    return dict(zip(spec.changes, last, strict=False))


def expected(spec, case):
    """Return what the reference makes of a case, in float64 unless it must be exact.

    That is an array, or a tuple of them.
    """
    if spec.magnitude is None:
        case = {
            name: value.copy() if name in spec.changes else value
            for name, value in case.items()
        }
        return each(np.asarray, reference(spec)(**case))
    return each(np.asarray, reference(spec)(**wide(case)))


def errors(spec, case, result):
    """Return how far off each element of a result is, in eps32 of its magnitude.

    More than `tolerance.FACTOR` is wrong. An element that must be exact is off by 0 or
    by infinity. The result must have the right shape. Of several: one array for each.
    """
    if spec.judge is not None:
        return spec.judge(result=np.asarray(result), **case)
    exact = expected(spec, case)
    if spec.magnitude is None:
        return each(_inexact, result, exact)
    return each(tolerance.errors, result, exact, spec.magnitude(**case))


def worst(spec, case, result) -> float:
    """Return the largest of all `errors`."""
    off = several(errors(spec, case, result))
    return max(float(np.max(array, initial=0.0)) for array in off)


def _inexact(result, exact):
    same = (result == exact) | ((result != result) & (exact != exact))
    return np.where(same, 0.0, np.inf)


def linear_in_each(function) -> Callable:
    """Return the magnitude of an op that is linear in each input: that of no signs."""

    def magnitude(**case):
        return function(**absolute(case))

    return magnitude


def floats(seed, *shape, scale=1.0, dtype=np.float32):
    """Return normal numbers times `scale`; one in eight of them is exactly zero.

    >>> floats(0, 2, 3).shape
    (2, 3)
    """
    rng = np.random.default_rng([seed, *shape])
    values = rng.standard_normal(shape) * scale
    values[rng.random(shape) < 0.125] = 0.0
    return values.astype(np.float32).astype(dtype)


def integers(seed, below, *shape):
    """Return int64 numbers in [0, below).

    >>> int(integers(0, 1, 2, 2).sum())
    0
    """
    return np.random.default_rng([seed, *shape]).integers(0, below, shape)
