"""How the exercises of lesson 08 are checked: by the package's masks and plans."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise
from minigen import plan, tasks


@st.composite
def masks(draw):
    """A mask of pixels that marks at least one, and the side of a token."""
    factor, y, x = (draw(st.integers(1, 3)) for _ in range(3))
    mask = np.zeros((y * factor, x * factor), bool)
    for p in draw(st.lists(st.integers(0, mask.size - 1), min_size=1, max_size=3)):
        mask.flat[p] = True
    return {"mask": mask, "factor": factor}


@st.composite
def orders(draw):
    """An order of a row of cells, some of which are known, and counts of the others."""
    n = draw(st.integers(1, 8))
    order = draw(st.permutations(range(n)))
    known = draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n))
    left, counts = n - len(known), []
    while left:
        counts.append(draw(st.integers(1, left)))
        left -= counts[-1]
    return {"order": order, "known": known, "counts": counts}


@st.composite
def corners(draw):
    """Cells of a small grid, and where it lies in a larger one."""
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    down, right = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    cells = st.lists(st.integers(0, rows * columns - 1), min_size=1, max_size=4)
    wide = columns + right + draw(st.integers(0, 2))
    sizes = {"columns": columns, "wide": wide, "down": down, "right": right}
    return {"positions": draw(cells), **sizes}


def token_mask(mask, factor):
    image = np.zeros((*mask.shape, 3), np.uint8)
    return tasks.inpainting(image, mask, factor).redrawn


def grouped(function, order, known, counts):
    """The groups are those of `minigen.plan`."""
    groups = [list(map(int, group)) for group in function(order, known, counts)]
    expected = plan((1, len(order)), order, counts, known=known).groups
    if groups != [list(group) for group in expected]:
        return f"yours: {groups}\nexpected: {[list(g) for g in expected]}"


def moved(positions, columns, wide, down, right):
    large = np.arange((max(positions) // columns + 1 + down) * wide).reshape(-1, wide)
    small = large[down:, right : right + columns]
    return [small.flat[p] for p in positions]


EXERCISES = [
    Exercise("token_mask", masks(), token_mask),
    Exercise("groups_after", orders(), law=grouped),
    Exercise("moved", corners(), moved),
]
