"""Specifications of arithmetic entry by entry: exact, since it is rounded once."""

from __future__ import annotations

from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec
from minigen.checking.strategies import floats, seeds


@st.composite
def draw_two(draw, sizes):
    """Draw x and y (b n d)."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    return {"x": floats(seed, b, n, d), "y": floats(seed + 1, b, n, d)}


@st.composite
def draw_scale(draw, sizes):
    """Draw x (b n d) and a factor, which float32 does not have exactly."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    factor = draw(st.sampled_from((0.2325, -3.1)))
    return {"x": floats(seed, b, n, d), "factor": factor}


@st.composite
def draw_sqrt(draw, sizes):
    """Draw x (b n d), none of it negative."""
    b, n, d = draw(sizes.b), draw(sizes.n), draw(sizes.d)
    return {"x": abs(floats(draw(seeds), b, n, d))}


def spec(name, draw, *company):
    """Return the specification of one of them."""
    routes = ({"d": 300},)
    return Spec("elementwise", name, draw, company=company, axis=1, routes=routes)


SPECS = (
    spec("add", draw_two, "x", "y"),
    spec("subtract", draw_two, "x", "y"),
    spec("multiply", draw_two, "x", "y"),
    spec("scale", draw_scale, "x"),
    spec("sqrt", draw_sqrt, "x"),
)
