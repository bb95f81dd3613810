"""How the exercises of lesson 04 are checked."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, rounding, shaped
from minigen.checking.strategies import seeds

POSITIONS = st.integers(0, 31)


def by_complex_numbers(q, k, p, r, speeds):
    q, k = (x.astype(np.float64) @ [1, 1j] for x in (q, k))
    return (q.conj() * k * np.exp(1j * (r - p) * speeds.astype(np.float64))).real.sum()


def magnitude(q, k, p, r, speeds):
    # an angle is rounded too, the more the larger it is
    terms = abs(q @ [1, 1j]) * abs(k @ [1, 1j])
    return (terms * (2 + (p + r) * abs(speeds))).sum()


def count(known, rows, columns):
    """Move the cells everywhere, and count where all of them are on the grid."""
    y, x = np.divmod(np.array(known), columns)
    moves = np.indices((2 * rows, 2 * columns)).reshape(2, -1, 1)
    ys, xs = moves[0] - rows + y, moves[1] - columns + x
    return int(((ys >= 0) & (ys < rows) & (xs >= 0) & (xs < columns)).all(1).sum())


def certain(order, rows, columns):
    return [count(order[: n + 1], rows, columns) for n in range(len(order))].index(
        1
    ) + 1


@st.composite
def grids(draw):
    """Return an order of a grid, and its sizes."""
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    order = np.random.default_rng(draw(seeds)).permutation(rows * columns).tolist()
    if draw(st.booleans()):
        order.sort()
    return {"order": order, "rows": rows, "columns": columns}


@st.composite
def cells(draw):
    """Return some cells of a grid, and its sizes."""
    case = draw(grids())
    order = case.pop("order")
    return {"known": order[: draw(st.integers(1, len(order)))], **case}


PAIRS = {"q": "n 2", "k": "n 2", "p": POSITIONS, "r": POSITIONS, "speeds": "n"}
EXERCISES = [
    Exercise("score", shaped(PAIRS), by_complex_numbers, rounding(magnitude)),
    Exercise("places", cells(), expected=count),
    Exercise("certain_after", grids(), expected=certain),
]
