"""Decoding plans as data: which positions are decoded at which step.

A plan is made of an order (which position after which), a schedule (how many of them at
each step) and the positions already known. It is a tuple of tuples of raster positions:
print it, draw it, change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minigen import rng
from minigen.errors import InputError

ORDERS = ("raster", "column", "spiral", "random", "halton", "subsample")
SCHEDULES = ("arccos", "cosine", "linear", "one")


@dataclass(frozen=True)
class Plan:
    """Groups of raster positions of a (rows, columns) grid, one group a decoding step.

    Position p is row p // columns, column p % columns. `known` positions are given, not
    decoded; their order is the order in which a model reads them.
    """

    grid: tuple[int, int]
    groups: tuple[tuple[int, ...], ...]
    known: tuple[int, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """The decoded positions, first to last."""
        return tuple(p for group in self.groups for p in group)

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens decoded at each step."""
        return tuple(len(group) for group in self.groups)

    def __str__(self) -> str:
        """Draw the grid: the step that decodes each position, `.` where it is known."""
        rows, columns = self.grid
        cells = ["."] * (rows * columns)
        for step, group in enumerate(self.groups):
            for position in group:
                cells[position] = str(step)
        size = max(len(cell) for cell in cells)
        lines = (cells[y * columns : (y + 1) * columns] for y in range(rows))
        return "\n".join(" ".join(cell.rjust(size) for cell in line) for line in lines)


def plan(
    grid: Sequence[int],
    order: str | Sequence[int] = "random",
    schedule: str | Sequence[int] = "arccos",
    steps: int = 16,
    known: Sequence[int] = (),
    seed: int = 0,
    faithful: bool = False,
) -> Plan:
    """Return the plan that decodes every unknown position of `grid` exactly once.

    grid: (rows, columns). order: one of ORDERS, or the positions themselves. schedule:
    one of SCHEDULES, or the counts themselves. A schedule asked for more steps than
    there are tokens has empty steps: they are merged away, or raise if `faithful`, as
    the original fails there. Raises InputError.

    >>> print(plan((3, 3), order="spiral", schedule="linear", steps=3))
    2 2 2
    1 0 0
    1 1 0
    """
    rows, columns = _grid(grid)
    known = _positions(known, rows * columns, "known")
    taken = set(known)
    unknown = [p for p in _order(order, rows, columns, seed) if p not in taken]
    if len(unknown) + len(known) != rows * columns:
        raise InputError(
            f"the order names {len(unknown)} unknown positions; the {rows} x {columns} "
            f"grid has {rows * columns - len(known)}: name each of them once"
        )
    sizes = counts(schedule, len(unknown), steps)
    if faithful and 0 in sizes:
        raise InputError(
            f"{steps} steps for {len(unknown)} tokens leave steps with nothing to "
            f"decode, where the original fails; ask for at most {len(unknown)} steps"
        )
    ends = np.cumsum(sizes).tolist()
    groups = (
        tuple(unknown[end - size : end]) for size, end in zip(sizes, ends, strict=True)
    )
    return Plan((rows, columns), tuple(g for g in groups if g), known)


def check_raster(plan: Plan) -> None:
    """Raise InputError unless `plan` is one token a step in raster order.

    What is known must come first in that order too.
    """
    order = (*plan.known, *plan.order)
    if order != tuple(range(len(order))) or any(n != 1 for n in plan.counts):
        raise InputError(
            "this model draws one token a step in raster order, after what is known in "
            "that order; ask for order raster and schedule one"
        )


def counts(schedule: str | Sequence[int], n: int, steps: int) -> tuple[int, ...]:
    """Return how many of `n` tokens each step decodes.

    The arithmetic of arccos and cosine is the original's to the last bit, in float64:
    after step s a share of the tokens is left, truncated to a whole number, and at
    least one is left for the last step. Source: hp-l33/ARPG models/arpg.py::generate.

    >>> counts("arccos", 256, 8)
    (21, 21, 21, 23, 25, 28, 35, 82)
    """
    if n == 0:
        return ()
    if not isinstance(schedule, str):
        return _explicit_counts(schedule, n)
    if schedule == "one":
        return (1,) * n
    if schedule not in _LEFT:
        raise InputError(
            f"schedule {schedule!r} is not known; choose from {', '.join(SCHEDULES)}, "
            "or give the counts themselves"
        )
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
        raise InputError(f"steps is {steps!r}; expected a whole number of at least 1")
    sizes = []
    decoded = 0
    for s in range(steps - 1):
        left = int(n * _LEFT[schedule](s, steps))
        left = max(1, min(n - decoded - 1, left))
        sizes.append(n - decoded - left)
        decoded += sizes[-1]
    return (*sizes, n - decoded)


def guidance_weight(schedule: str, guidance: float, decoded: int, n: int) -> float:
    """Return the guidance weight of the step that brings `decoded` of `n` tokens.

    linear rises from about 1 to `guidance`, reached at the last step; constant stays.
    Source: hp-l33/ARPG models/arpg.py::generate.
    """
    if schedule == "linear":
        return 1 + (guidance - 1) * decoded / n
    if schedule == "constant":
        return guidance
    raise InputError(
        f"guidance schedule {schedule!r} is not known; choose linear or constant"
    )


_LEFT = {
    "arccos": lambda s, steps: math.acos(1.0 * (s + 1) / steps) / (math.pi * 0.5),
    "cosine": lambda s, steps: math.cos(((math.pi / 2) * (s + 1)) / steps),
    "linear": lambda s, steps: 1.0 - (s + 1) / steps,
}


def raster(rows, columns):
    """Row by row, as text is read."""
    return list(range(rows * columns))


def column(rows, columns):
    """Column by column."""
    return [y * columns + x for x in range(columns) for y in range(rows)]


def spiral(rows, columns):
    """From the centre outwards, turning clockwise."""
    y, x = (rows - 1) // 2, (columns - 1) // 2
    dy, dx = 0, 1
    positions = []
    stride = 1
    while len(positions) < rows * columns:
        # two legs of each length: right then down, left then up
        for _ in range(2):
            for _ in range(stride):
                if 0 <= y < rows and 0 <= x < columns:
                    positions.append(y * columns + x)
                y, x = y + dy, x + dx
            dy, dx = dx, -dy
        stride += 1
    return positions


def halton(rows, columns):
    """Spread out evenly at every moment: the Halton sequence in bases 2 and 3.

    Source: Besnier et al., "Halton scheduler for masked generative image transformer".
    """
    seen = {}
    i = 1
    while len(seen) < rows * columns:
        y, x = int(_radical_inverse(i, 2) * rows), int(_radical_inverse(i, 3) * columns)
        seen.setdefault(y * columns + x)
        i += 1
    return list(seen)


def subsample(rows, columns):
    """Coarse to fine: every eighth position each way, then every fourth, and so on."""
    stride = 1 << (max(rows, columns) - 1).bit_length()
    seen = {}
    while stride:
        for y in range(0, rows, stride):
            for x in range(0, columns, stride):
                seen.setdefault(y * columns + x)
        stride //= 2
    return list(seen)


_FIXED = {f.__name__: f for f in (raster, column, spiral, halton, subsample)}


def _order(order, rows, columns, seed):
    if not isinstance(order, str):
        return _positions(order, rows * columns, "order")
    if order == "random":
        return rng.permutation(seed, rows * columns).tolist()
    if order not in _FIXED:
        raise InputError(
            f"order {order!r} is not known; choose from {', '.join(ORDERS)}, or give "
            "the positions themselves"
        )
    return _FIXED[order](rows, columns)


def _radical_inverse(i, base):
    value, share = 0.0, 1.0
    while i:
        share /= base
        value += share * (i % base)
        i //= base
    return value


def _explicit_counts(sizes, n):
    sizes = tuple(int(size) for size in sizes)
    if min(sizes, default=0) < 1 or sum(sizes) != n:
        raise InputError(
            f"the counts {sizes} add up to {sum(sizes)}; expected counts of at least 1 "
            f"that add up to the {n} unknown tokens"
        )
    return sizes


def _positions(positions, n, name):
    positions = tuple(int(p) for p in positions)
    wrong = [p for p in positions if not 0 <= p < n]
    if wrong:
        raise InputError(f"{name} holds position {wrong[0]}; the grid has 0 .. {n - 1}")
    if len(set(positions)) != len(positions):
        twice = next(p for p in positions if positions.count(p) > 1)
        raise InputError(f"{name} holds position {twice} more than once")
    return positions


def _grid(grid):
    rows, columns = (int(size) for size in grid)
    if rows < 1 or columns < 1:
        raise InputError(f"grid {rows} x {columns} has no positions")
    return rows, columns
