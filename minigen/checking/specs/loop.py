"""Specifications of what the sampling loop does between two forward passes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec
from minigen.checking.strategies import floats, integers, seeds


@st.composite
def draw_uniforms(draw, sizes):
    """Draw key (2), images (b), positions (m), step and index: any counters."""
    b, m, seed = draw(sizes.b), draw(sizes.m), draw(seeds)
    return {
        "key": integers(seed, 2**32, 2).astype(np.uint32),
        "images": integers(seed + 1, 2**32, b),
        "positions": integers(seed + 2, 2**20, m),
        "step": draw(st.sampled_from((0, 1, 255))),
        "index": draw(st.sampled_from((0, 1))),
    }


@st.composite
def draw_full(draw, sizes):
    """Draw a shape (b, n) and a value."""
    value = draw(st.sampled_from((-1, 0, 2**40)))
    return {"shape": (draw(sizes.b), draw(sizes.n)), "value": value}


@st.composite
def draw_zeros(draw, sizes):
    """Draw a shape of one to four axes."""
    shape = (*(draw(getattr(sizes, letter)) for letter in "bhpw"),)
    return {"shape": shape[: draw(st.integers(1, 4))]}


@st.composite
def draw_twice(draw, sizes):
    """Draw x (b m) of int64."""
    return {"x": integers(draw(seeds), 2**40, draw(sizes.b), draw(sizes.m))}


@st.composite
def draw_place(draw, sizes):
    """Draw a canvas (b n), tokens (b m) and m of its positions."""
    b, n, seed = draw(sizes.b), draw(sizes.n), draw(seeds)
    m = draw(st.integers(1, n))
    return {
        "canvas": integers(seed, 1000, b, n),
        "tokens": integers(seed + 1, 1000, b, m),
        "positions": np.random.default_rng(seed).permutation(n)[:m],
    }


@st.composite
def draw_check_finite(draw, sizes):
    """Draw x (b n d), all of it finite."""
    b, n, d = draw(sizes.b), draw(sizes.n), draw(sizes.d)
    return {"x": floats(draw(seeds), b, n, d)}


SPECS = (
    Spec("finite", "check_finite", draw_check_finite, company=("x",)),
    Spec("uniforms", "uniforms", draw_uniforms, company=("images",)),
    Spec("canvas", "full", draw_full),
    Spec("canvas", "zeros", draw_zeros),
    Spec("canvas", "twice", draw_twice),
    Spec(
        "canvas",
        "place",
        draw_place,
        company=("canvas", "tokens"),
        changes=("canvas",),
    ),
)
