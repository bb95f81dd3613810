"""How the exercises of lesson 11 are checked: by the model, and by its weights."""

import math
from types import SimpleNamespace

import numpy as np
from hypothesis import strategies as st

from checks import Exercise, shaped
from minigen.backends import table as op_table
from minigen.families import FAMILIES
from minigen.families.aim import AimConfig
from minigen.models import aim


def by_the_model(together, table, layer, groups):
    """Return what the model tells the last of as many layers."""
    b, _, d = together.shape
    config = SimpleNamespace(factor=3, width=d, condition_groups=groups)
    weights = {"layers": [{"table": table[None]}] * (layer + 1)}
    given = op_table("numpy"), weights, config, together.reshape(b, 1, -1)
    *_, last = aim._of_groups(*given)
    return last.reshape(b, 3, d)


def by_the_weights(layers, width, groups):
    """Return the difference of all weights of two models."""
    sizes = []
    for shared in (0, groups):
        config = AimConfig(width, layers, head_size=1, condition_groups=shared)
        shapes = [shape for _, _, shape in FAMILIES["aim"].rows(config)]
        sizes.append(sum(map(math.prod, shapes)))
    return sizes[0] - sizes[1]


def by_the_table(y, x, side, positions):
    """Return the row that the model reads."""
    order = np.arange(side * side).reshape(side, side)
    return int(aim.table_rows(order[y, x], SimpleNamespace(positions=positions)))


@st.composite
def layers(draw):
    """Return a layer, and what all groups are told."""
    groups = draw(st.integers(1, 4))
    case = draw(shaped({"together": f"b {3 * groups} d", "table": "3 d"}))
    return {**case, "layer": draw(st.integers(0, 9)), "groups": groups}


@st.composite
def places(draw):
    """Return a place in a grid."""
    side = draw(st.integers(1, 16))
    y, x = (draw(st.integers(0, side - 1)) for _ in range(2))
    positions = draw(st.sampled_from(("trained", "released")))
    return {"y": y, "x": x, "side": side, "positions": positions}


SIZES = {
    "layers": st.integers(1, 48),
    "width": st.integers(1, 64),
    "groups": st.integers(1, 4),
}
EXERCISES = [
    Exercise("told", layers(), expected=by_the_model),
    Exercise("saved", SIZES, expected=by_the_weights),
    Exercise("row_of", places(), expected=by_the_table),
]
