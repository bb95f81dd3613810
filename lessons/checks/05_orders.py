"""How the exercises of lesson 05 are checked."""

from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from checks import Exercise
from minigen import plans
from minigen.orders import ORDERS

SIZES = st.integers(1, 5)


def along(rows, columns):
    """Walk down every diagonal, in turn."""
    order = []
    for total in range(rows + columns - 1):
        ys = range(max(0, total - columns + 1), min(rows, total + 1))
        order += [y * columns + total - y for y in ys]
    return order


@st.composite
def made(draw):
    """Return the groups of a plan, and its grid."""
    rows, columns = draw(SIZES), draw(SIZES)
    order = draw(st.sampled_from(sorted(ORDERS)))
    steps = draw(st.integers(1, rows * columns))
    groups = plans.plan((rows, columns), order, "linear", steps).groups
    return {"groups": groups, "rows": rows, "columns": columns}


def printed(groups, rows, columns):
    """Read it off a printed plan."""
    lines = str(plans.Plan((rows, columns), groups)).split("\n")
    return np.array([line.split() for line in lines], int)


def without_rows(case):
    return {name: value for name, value in case.items() if name != "rows"}


def closest(groups, columns):
    def apart(a, b):
        (y, x), (v, u) = divmod(a, columns), divmod(b, columns)
        return max(abs(y - v), abs(x - u))

    pairs = [[*combinations(group, 2)] for group in groups]
    return np.array([min((apart(*p) for p in each), default=0) for each in pairs])


EXERCISES = [
    Exercise("diagonals", {"rows": SIZES, "columns": SIZES}, expected=along),
    Exercise("step_of", made(), expected=printed),
    Exercise("nearest", made().map(without_rows), expected=closest),
]
