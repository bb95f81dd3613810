"""A process that multiplies rows by weights, and answers how long a product takes.

It reads lines of JSON, each a `Cell` of `minigen.bench.products`, and answers each with
the seconds of a product and how far off the result was, or with what it lacks.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from minigen.bench.products import OURS, Cell
from minigen.bench.weights import pick
from minigen.bench.worker import answer

LEAST = 0.02
"""The least seconds of a run."""

WARM = 8
"""Products before a run: kernels measure on how many threads they are faster."""

OUTPUTS = 64
"""Outputs that are compared with a product in float64."""

EPS = {"float32": 2.0**-23, "bfloat16": 2.0**-7}
"""The spacing of numbers at one."""


@dataclass(frozen=True)
class Side:
    """A library: hold(w, rows) keeps a weight (f d) as its models do; put and get take
    x (n d) there and y (n f) back; multiply(x, w) is the product.

    narrow: whether x and y are of the weight's dtype, not float32; lacks(dtype): why
    there is no product of a dtype on this machine, "" if there is.
    """

    hold: Callable
    put: Callable
    multiply: Callable
    get: Callable = np.asarray
    narrow: bool = False
    lacks: Callable[[str], str] = lambda dtype: ""


def serve(side: Side) -> None:
    """Answer each line of stdin on stdout."""
    held, weight, kept = None, None, None
    for line in sys.stdin:
        cell = Cell(**json.loads(line))
        if reason := side.lacks(cell.dtype):
            answer({"lacks": reason})
            continue
        if held != (cell.f, cell.d, cell.dtype):
            held = cell.f, cell.d, cell.dtype
            kept = None
            weight = draw(cell)
            kept = [side.hold(weight.copy(), cell.rows) for _ in range(cell.copies)]
        rng = np.random.default_rng(cell.rows)
        x = rng.standard_normal((cell.rows, cell.d), np.float32)
        given = side.put(x, cell.dtype)
        off = worst(cell, x, weight, side.get(side.multiply(given, kept[0])), side)
        if off > 1:
            answer({"error": (
                f"{cell.rows} rows by {cell.f} x {cell.d} of {cell.dtype}: the result "
                f"is off by {off:.1f} times what rounding explains"
            )})  # fmt: skip
            return
        answer({"seconds": seconds(side, given, kept), "off": off})


def draw(cell: Cell) -> np.ndarray:
    """Return the weight of a cell, the same on every side."""
    rng = np.random.default_rng(cell.f * cell.d)
    w = rng.standard_normal((cell.f, cell.d), np.float32) / np.float32(cell.d**0.5)
    return w.astype(pick(cell.dtype))


def worst(cell: Cell, x, w, y, side: Side) -> float:
    """Return how far off y (n f) is, as a share of what rounding allows.

    A sum of d products in float32, in any order, is off by d eps times the sum of
    their magnitudes at most; where x and y are rounded to bfloat16, by an eps of it,
    half of one each, in addition.
    """
    some = np.linspace(0, cell.f - 1, min(OUTPUTS, cell.f)).astype(int)
    wide, columns = x.astype(np.float64), w[some].astype(np.float64).T
    allowed = cell.d * EPS["float32"] + (EPS[cell.dtype] if side.narrow else 0.0)
    # not by OpenBLAS, whose threads would take a core from those that are timed
    exact = np.einsum("nd,df->nf", wide, columns)
    magnitude = np.einsum("nd,df->nf", np.abs(wide), np.abs(columns))
    off = np.abs(np.asarray(y, np.float64)[:, some] - exact)
    return float((off / (allowed * magnitude)).max())


def seconds(side: Side, x, kept: list) -> float:
    """Return the seconds of a product, of as many as take LEAST together."""
    turns = cycle(kept)
    for _ in range(WARM):
        side.multiply(x, next(turns))
    start, count = time.perf_counter(), 0
    while True:
        side.multiply(x, next(turns))
        count += 1
        passed = time.perf_counter() - start
        if passed >= LEAST:
            return passed / count


def ours() -> Side:
    """Return the op table's `linear`, and weights as models hold them."""
    from minigen import backends

    ops = backends.table("numba")
    return Side(
        hold=lambda w, rows: backends.move(ops, {"w": w})["w"],
        put=lambda x, dtype: x[None],
        multiply=ops.linear,
        get=lambda y: y[0],
    )


def openblas() -> Side:
    """Return NumPy's product."""
    return Side(lambda w, rows: w.T, lambda x, dtype: x, np.matmul)


if __name__ == "__main__":
    serve(ours() if sys.argv[1] == OURS else openblas())
