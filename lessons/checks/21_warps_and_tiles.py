"""How the exercises of lesson 21 are checked: counts, and a kernel interpreted."""

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, shaped
from minigen import simt
from minigen.errors import KernelError


@st.composite
def cells(draw):
    """Draw 1 to 32 places, at a distance from each other or anywhere."""
    n = draw(st.sampled_from((1, 2, 8, 32)))
    if draw(st.booleans()):
        start = draw(st.integers(0, 40))
        return start + draw(st.sampled_from((1, 2, 8, 9, 32, 33, 0))) * np.arange(n)
    return np.array(draw(st.lists(st.integers(0, 300), min_size=n, max_size=n)))


def largest(function, x):
    """Every lane has the largest number, through registers alone."""
    y, expected = simt.poison(np.empty_like(x)), np.full_like(x, x.max())
    try:
        report = simt.launch(function(), 1, 32, x, y, patience=10_000)
    except KernelError as error:
        return str(error)
    if not (y == expected).all():
        return f"y became\n{y}\nand all of it should be {x.max()}"
    if report.barriers or report.shared_bytes:
        return (
            f"{report.barriers} barriers, {report.shared_bytes} bytes of shared memory"
        )
    if report.reads["x"].max() > 1:
        return f"cells of x are read up to {report.reads['x'].max()} times"


EXERCISES = [
    Exercise(
        "sectors",
        {"cells": cells()},
        expected=lambda cells: len({int(cell) * 4 // 32 for cell in cells}),
    ),
    Exercise(
        "answers",
        {"cells": cells()},
        expected=lambda cells: max(
            len({int(c) for c in cells if c % 32 == bank}) for bank in range(32)
        ),
    ),
    Exercise("warp_max", shaped({"x": "32"}), law=largest, examples=20),
]
