"""Decoding plans as data: which positions are decoded at which step.

A plan is made from an order (the sequence of positions), a schedule (the number of
tokens at each step) and the positions already known. It is a tuple of tuples of raster
positions: print it, draw it, change it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np

from minigen import rng
from minigen.checks import MOST_STEPS, choice, integer, integers, optional, shown
from minigen.errors import InputError
from minigen.orders import ORDERS, PER_IMAGE, random_each, raster

SCHEDULES = ("arccos", "cosine", "linear", "one")
FREE = ("arccos", "cosine", "linear")
"""The schedules for which the number of steps can be chosen."""

GUIDANCE_SCHEDULES = ("linear", "constant")


@dataclass(frozen=True)
class Plan:
    """Groups of raster positions of a (rows, columns) grid, one group a decoding step.

    Position p is row p // columns, column p % columns. `known` positions are given, not
    decoded; a model reads them in this order.

    per_image: a name in PER_IMAGE, if the positions differ from image to image; then
    `groups` hold the unknown positions in raster order, and only their numbers count.
    Those of `confidence` depend on the tokens that are drawn (`minigen.confidence`), so
    nobody knows them before. seed: of the orders of the images.

    >>> drawn = Plan((2, 2), groups=((3,), (1, 2)), known=(0,))
    >>> print(drawn)
    . 1
    1 0
    >>> drawn.order, drawn.counts
    ((3, 1, 2), (1, 2))
    """

    grid: tuple[int, int]
    groups: tuple[tuple[int, ...], ...]
    known: tuple[int, ...] = ()
    per_image: str | None = None
    seed: int = 0

    @property
    def order(self) -> tuple[int, ...]:
        """The decoded positions, first to last."""
        return tuple(p for group in self.groups for p in group)

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens decoded at each step."""
        return tuple(len(group) for group in self.groups)

    @property
    def asked(self) -> tuple[int, ...]:
        """Positions asked for at each step; for `confidence` all that are unknown."""
        if self.per_image != "confidence":
            return self.counts
        return tuple(np.cumsum(self.counts[::-1])[::-1].tolist())

    def of(self, image: int) -> Plan:
        """Return the plan of one image, by its number, with the positions of it.

        That of `confidence` is itself, since only drawing tells its positions.

        >>> each = plan((2, 2), order="random-each", schedule="one")
        >>> print(each)
        ? ?
        ? ?
        >>> sorted(each.of(0).order), each.of(0).per_image
        ([0, 1, 2, 3], None)
        """
        if self.per_image != "random-each":
            return self
        taken = set(self.known)
        order = random_each(*self.grid, self.seed, image)
        order = [p for p in order if p not in taken]
        return Plan(self.grid, _cut(order, self.counts), self.known)

    def __str__(self) -> str:
        """Draw the grid: the step that decodes each position, `.` where it is known.

        `?` stands where it differs from image to image.
        """
        rows, columns = self.grid
        cells = ["."] * (rows * columns)
        for step, group in enumerate(self.groups):
            for position in group:
                cells[position] = str(step) if self.per_image is None else "?"
        size = max(len(cell) for cell in cells)
        lines = (cells[y * columns : (y + 1) * columns] for y in range(rows))
        return "\n".join(" ".join(cell.rjust(size) for cell in line) for line in lines)

    def _repr_png_(self) -> bytes:
        # a notebook shows this
        from minigen.show import cells

        return cells.of_plan(self)


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

    grid: (rows, columns); position p is row p // columns, column p % columns. order: a
    name in `orders.ORDERS`, or the positions themselves, in the order of decoding; or a
    name in `orders.PER_IMAGE`: random-each is a random order for each image
    (`Plan.of`), confidence takes the most certain tokens first, at the cost of a pass
    over all that is unknown at every step. known: positions whose tokens are given; the
    order skips them. seed: 0 .. 2**64 - 1, which the orders random, random-each and
    locality follow from.

    schedule: arccos, cosine, linear or one, or the number of tokens of each step;
    steps: the number of steps of the first three ("one" decodes one token a step). If
    there are more steps than tokens, some are empty: they are removed, or raise if
    `faithful`, since the original fails there. A grid has at most 65,536 positions, and
    a plan as many steps. Raises InputError. A plan is printed as the step of each cell.

    >>> print(plan((3, 3), order="spiral", schedule="linear", steps=3))
    2 2 2
    1 0 0
    1 1 0
    """
    rows, columns = check_grid(grid)
    rng.split_seed(seed)
    known = _positions(known, rows * columns, "known")
    left, steps = rows * columns - len(known), integer("steps", steps, 1, MOST_STEPS)
    sizes = counts(schedule, left, steps)
    unknown = _order(order, rows, columns, seed, known, sizes)
    if len(unknown) != left:
        raise InputError(
            f"the order names {len(unknown)} unknown positions; the {rows} x {columns} "
            f"grid has {left}: name each of them once"
        )
    if faithful and 0 in sizes:
        raise InputError(
            f"{steps} steps for {len(unknown)} tokens leave steps with nothing to "
            f"decode, where the original fails; ask for at most {len(unknown)} steps"
        )
    groups = tuple(group for group in _cut(unknown, sizes) if group)
    differs = isinstance(order, str) and order in PER_IMAGE
    how = (order, int(seed)) if differs else ()
    return Plan((rows, columns), groups, known, *how)


def check_order(name: str, order):
    """Return an order, a name or a tuple of positions, or raise InputError.

    >>> check_order("order", "spiral"), check_order("order", [3, 0])
    ('spiral', (3, 0))
    """
    if isinstance(order, str):
        known = (*ORDERS, *PER_IMAGE)
        return choice(name, order, known, ", or give the positions themselves")
    return integers(f"{name}: position", order, longest=MOST_STEPS)


def check_schedule(name: str, schedule):
    """Return a schedule, a name or a tuple of counts, or raise InputError.

    >>> check_schedule("schedule", "arccos"), check_schedule("schedule", [1, 3])
    ('arccos', (1, 3))
    """
    if isinstance(schedule, str):
        return choice(name, schedule, SCHEDULES, ", or give the counts themselves")
    return integers(f"{name}: count", schedule, least=1, longest=MOST_STEPS)


def check_grid(grid) -> tuple[int, int]:
    """Return rows and columns of a grid, or raise InputError.

    >>> check_grid([4, 8])
    (4, 8)
    """
    grid = integers("grid", grid, most=MOST_STEPS)
    if len(grid) != 2:
        raise InputError(f"grid {shown(grid)} has not two sizes; give (rows, columns)")
    rows, columns = grid
    if not 1 <= rows * columns <= MOST_STEPS:
        raise InputError(
            f"grid {rows} x {columns} has {rows * columns} positions; expected "
            f"1 .. {MOST_STEPS}"
        )
    return rows, columns


def check_plan(plan: Plan) -> None:
    """Raise InputError unless a plan holds positions of its grid, each at most once.

    >>> check_plan(Plan((1, 2), groups=((0,), (0,))))
    Traceback (most recent call last):
    minigen.errors.InputError: the plan holds position 0 more than once
    """
    if not isinstance(plan, Plan):
        raise InputError(f"plan {shown(plan)} is none; make one with minigen.plan")
    rows, columns = check_grid(plan.grid)
    named = [p for group in plan.groups for p in group]
    _positions([*plan.known, *named], rows * columns, "the plan")
    optional(partial(choice, known=PER_IMAGE), "per_image", plan.per_image)
    rng.split_seed(plan.seed)
    if not all(plan.groups):
        raise InputError("the plan has a step without positions; leave it out")


def check_whole(plan: Plan) -> Plan:
    """Return a plan as tuples of int, or raise InputError.

    It must decode every position of its grid that it does not know.

    >>> check_whole(Plan((1, 3), groups=((2,),), known=[0, 1])).known
    (0, 1)
    >>> check_whole(Plan((1, 3), groups=((2,),)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: the plan leaves 2 positions of its grid unknown, ...
    """
    check_plan(plan)
    groups = tuple(tuple(map(int, group)) for group in plan.groups)
    known = tuple(map(int, plan.known))
    plan = replace(plan, grid=check_grid(plan.grid), groups=groups, known=known)
    rows, columns = plan.grid
    missing = {*range(rows * columns)} - {*plan.known, *plan.order}
    if missing:
        raise InputError(
            f"the plan leaves {len(missing)} positions of its grid unknown, such as "
            f"{min(missing)}; decode each in a group, or give its token as known"
        )
    return plan


def check_raster(plan: Plan) -> None:
    """Raise InputError unless `plan` is one token a step in raster order.

    Known tokens must come first in that order.

    >>> check_raster(plan((2, 2), order="raster", schedule="one", known=[0]))
    >>> check_raster(plan((2, 2), order="column", schedule="one"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: this model draws one token a step in raster order, ...
    """
    order = (*plan.known, *plan.order)
    k = len(plan.known)
    if {*plan.known} != {*range(k)}:
        hole = min({*range(k)} - {*plan.known})
        raise InputError(
            f"this model reads and draws row by row, and position {hole} is unknown "
            f"while {max(plan.known)} is known: known tokens must come first in raster "
            "order; redraw all that follows too, or take a model that starts from any "
            "tokens: ARPG, ARINAR or MAR"
        )
    in_turn = order == tuple(range(len(order))) and set(plan.counts) <= {1}
    if plan.per_image or not in_turn:
        raise InputError(
            "this model draws one token a step in raster order, after what is known in "
            "that order; ask for order raster and schedule one"
        )


def check_trained(plan: Plan, side: int) -> None:
    """Raise InputError unless a plan's grid is the square one of training.

    For models with learned positions: their table has no rows for other grids.

    >>> check_trained(plan((4, 8)), side=4)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: this model has learned the positions of a grid of 4 ...
    """
    if tuple(plan.grid) != (side, side):
        rows, columns = plan.grid
        raise InputError(
            f"this model has learned the positions of a grid of {side} x {side}, and "
            f"{rows} x {columns} was asked for; ask for {side} x {side}, or another "
            "model: ARPG turns vectors by their positions, and draws on any grid"
        )


def counts(schedule: str | Sequence[int], n: int, steps: int) -> tuple[int, ...]:
    """Return how many of `n` tokens each step decodes.

    After step s a share of the tokens is left, truncated to an integer; at least one is
    left for the last step. The arithmetic of arccos and cosine is the original's to the
    last bit, in float64; that of linear is exact. Source: hp-l33/ARPG
    models/arpg.py::generate.

    >>> counts("arccos", 256, 8)
    (21, 21, 21, 23, 25, 28, 35, 82)
    """
    schedule = check_schedule("schedule", schedule)
    if n == 0:
        return ()
    if schedule == "one":
        return (1,) * n
    if not isinstance(schedule, str):
        if sum(schedule) != n:
            raise InputError(
                f"the counts {shown(schedule)} add up to {sum(schedule)}; expected "
                f"counts of at least 1 that add up to the {n} unknown tokens"
            )
        return schedule
    steps = integer("steps", steps, 1, MOST_STEPS)
    sizes = []
    decoded = 0
    for s in range(steps - 1):
        left = int(n * _LEFT[schedule](s, steps))
        left = max(1, min(n - decoded - 1, left))
        sizes.append(n - decoded - left)
        decoded += sizes[-1]
    return (*sizes, n - decoded)


def guidance_weight(schedule: str, guidance: float, decoded: int, n: int) -> float:
    """Return the guidance weight of the step that ends with `decoded` of n tokens.

    linear rises from about 1 to `guidance`, reached at the last step; constant does not
    change.
    Source: hp-l33/ARPG models/arpg.py::generate.

    >>> [guidance_weight("linear", 4.0, decoded, 64) for decoded in (0, 16, 64)]
    [1.0, 1.75, 4.0]
    """
    if schedule == "linear":
        return 1 + (guidance - 1) * decoded / n
    choice("guidance_schedule", schedule, GUIDANCE_SCHEDULES)
    return guidance


_LEFT = {
    "arccos": lambda s, steps: math.acos(1.0 * (s + 1) / steps) / (math.pi * 0.5),
    "cosine": lambda s, steps: math.cos(((math.pi / 2) * (s + 1)) / steps),
    # ours, and exact: rounded down, 49 (1 - 22/49) would be 26
    "linear": lambda s, steps: Fraction(steps - s - 1, steps),
}


def _cut(positions, sizes):
    """Return a tuple of positions for each of the sizes."""
    ends = np.cumsum(sizes).tolist()
    pairs = zip(sizes, ends, strict=True)
    return tuple(tuple(positions[end - size : end]) for size, end in pairs)


def _order(order, rows, columns, seed, known, sizes):
    """Return the unknown positions in an order; in raster order if images differ."""
    if isinstance(order, str):
        order = ORDERS.get(check_order("order", order), raster)
        named = order(rows, columns, seed, known, sizes)
    else:
        named = _positions(order, rows * columns, "order")
    taken = set(known)
    return [p for p in named if p not in taken]


def _positions(positions, n, name):
    positions = integers(f"{name}: position", positions, most=n - 1, longest=n)
    seen = set()
    for p in positions:
        if p in seen:
            raise InputError(f"{name} holds position {p} more than once")
        seen.add(p)
    return positions
