"""How the exercises of lesson 06 are checked: by sums, cell by cell."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise

EPS = np.finfo(np.float64).eps


@st.composite
def tables(draw):
    """A joint table (v w) of whole numbers of parts."""
    v, w = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    parts = np.array([[draw(st.integers(0, 9)) for _ in range(w)] for _ in range(v)])
    parts[0, 0] += parts.sum() == 0
    return {"joint": parts / parts.sum()}


@st.composite
def draws(draw):
    """What a step drew from, what it drew, and how likely that was in turn."""
    b, m, v = (draw(st.integers(1, n)) for n in (2, 3, 4))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    p = rng.integers(1, 9, (b, m, v)).astype(np.float64)
    # of few sizes, so that half as likely occurs, which is not less than that
    return {
        "probabilities": p / 16,
        "tokens": rng.integers(0, v, (b, m)),
        "in_turn": rng.integers(0, 9, (b, m)) / 32,
    }


@st.composite
def grids(draw):
    """Cells of a grid in some order, and how many are wanted."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    cells = draw(st.permutations(range(rows * columns)))
    return {"cells": cells, "count": draw(st.integers(0, 6)), "columns": columns}


def gap_of_table(joint):
    a, b = joint.sum(1), joint.sum(0)
    return sum(abs(joint[i, j] - a[i] * b[j]) / 2 for i, j in np.ndindex(*joint.shape))


def at_odds(probabilities, tokens, in_turn):
    odd = np.zeros(tokens.shape, bool)
    for i in np.ndindex(*tokens.shape):
        odd[i] = 2 * in_turn[i] < probabilities[i][tokens[i]]
    return odd


def apart(cells, count, columns):
    taken, beside = [], set()
    for cell in cells:
        if cell not in beside and len(taken) < count:
            taken.append(cell)
            y, x = divmod(cell, columns)
            around = [(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            beside |= {r * columns + c for r, c in around if 0 <= c < columns}
    return taken


EXERCISES = [
    # each of v w terms is below 1, and is off by a few roundings of sums of v or w
    Exercise(
        "gap_of_table", tables(), gap_of_table, lambda joint: joint.size * 8 * EPS
    ),
    Exercise("at_odds", draws(), at_odds),
    Exercise("apart", grids(), apart),
]
