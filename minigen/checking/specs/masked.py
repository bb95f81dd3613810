"""Specifications of what a masked transformer is made of, of rows, and of noise."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs import mixtures
from minigen.checking.specs.spec import Spec
from minigen.checking.strategies import floats, integers, seeds
from minigen.checking.tolerance import EPS
from minigen.ops.noise import reference as noise

SCALES = st.sampled_from((1.0, 5.0, 100.0))


@st.composite
def draw_layer_norm(draw, sizes):
    """Draw x (b n d), w and bias (d), eps; the mean is at times far from zero."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    dtype = draw(sizes.dtypes)
    return {
        "x": around(seed, b, n, d, draw),
        "w": floats(seed + 1, d, dtype=dtype),
        "bias": floats(seed + 2, d, dtype=dtype),
        "eps": 1e-6,
    }


@st.composite
def draw_standardise(draw, sizes):
    """Draw x (b n d) and eps; the mean is at times far from zero."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    return {"x": around(seed, b, n, d, draw), "eps": 1e-6}


def around(seed, b, n, d, draw):
    """Return x (b n d) of a drawn size, around zero or around a number far from it."""
    mean = np.float32(draw(st.sampled_from((0, 50))))
    return floats(seed, b, n, d, scale=draw(SCALES)) + mean


def layer_norm_magnitude(x, w, bias, eps):
    """Return the magnitude of layer_norm, whose weights may be of two bytes."""
    return mixtures.layer_norm_magnitude(x, *mixtures.wide(w, bias), eps)


@st.composite
def draw_gelu(draw, sizes):
    """Draw x (b n d), at times so large that a power of it is zero."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    return {"x": floats(seed, b, n, d, scale=draw(SCALES))}


@st.composite
def draw_gather(draw, sizes):
    """Draw x (b n d) and rows (b m) of it, some of them named again and again."""
    b, n, m, d, seed = (*(draw(getattr(sizes, s)) for s in "bnmd"), draw(seeds))
    return {"x": floats(seed, b, n, d), "rows": integers(seed, n, b, m)}


@st.composite
def draw_scatter(draw, sizes):
    """Draw x (b n d), new (b m d) and rows (b m) of x, which differ in an image."""
    b, n, d, seed = draw(sizes.b), draw(sizes.n), draw(sizes.d), draw(seeds)
    m = draw(st.integers(1, n))
    rng = np.random.default_rng(seed)
    return {
        "x": floats(seed, b, n, d),
        "new": floats(seed + 1, b, m, d),
        "rows": np.stack([rng.permutation(n)[:m] for _ in range(b)]),
    }


@st.composite
def draw_append(draw, sizes):
    """Draw cache (b n d), new (b m d), and a length from which on it fits."""
    b, m, d, seed = (*(draw(getattr(sizes, s)) for s in "bmd"), draw(seeds))
    length = draw(st.integers(0, 5))
    n = length + m + draw(st.integers(0, 3))
    cache, new = floats(seed, b, n, d), floats(seed + 1, b, m, d)
    return {"cache": cache, "new": new, "length": length}


@st.composite
def draw_concat(draw, sizes):
    """Draw x (b n d) and y (b m d), as they are stored."""
    b, n, m, d, seed = (*(draw(getattr(sizes, s)) for s in "bnmd"), draw(seeds))
    dtype = draw(sizes.dtypes)
    return {
        "x": floats(seed, b, n, d, dtype=dtype),
        "y": floats(seed + 1, b, m, d, dtype=dtype),
    }


@st.composite
def draw_repeat(draw, sizes):
    """Draw x (b d), as it is stored, and n."""
    b, n, d, dtype = (draw(getattr(sizes, s)) for s in ("b", "n", "d", "dtypes"))
    return {"x": floats(draw(seeds), b, d, dtype=dtype), "n": n}


@st.composite
def draw_noise(draw, sizes):
    """Draw key (2), images and positions (b), step, first and m: any counters."""
    b, m, seed = draw(sizes.b), draw(sizes.m), draw(seeds)
    return {
        "key": integers(seed, 2**32, 2).astype(np.uint32),
        "images": integers(seed + 1, 2**32, b),
        "positions": integers(seed + 2, 2**20, b),
        "step": draw(st.sampled_from((0, 1, 255))),
        # words have 32 bits: at the end of them they begin anew
        "first": draw(st.sampled_from((0, 1, 2**32 - 1))),
        "m": m,
    }


def gelu_magnitude(x):
    """Return |x|: x and x erf or x tanh cancel where x is below zero."""
    return abs(x.astype(np.float64))


def normals_at_magnitude(key, images, positions, step, first, m):
    """Return |number|, and eps of its length: a cosine of zero is the reference's too
    only as nearly as float64 knows pi."""
    given = key, images, positions, step, first, m
    _, u, _, _ = noise._words(*given)
    length = np.sqrt(-2 * np.log(noise._unit(u).astype(np.float64)))
    return abs(noise.normals_at(*given).astype(np.float64)) + EPS * length


SPECS = (
    Spec(
        "layer_norm",
        "layer_norm",
        draw_layer_norm,
        magnitude=layer_norm_magnitude,
        company=("x",),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "layer_norm",
        "standardise",
        draw_standardise,
        magnitude=mixtures.standardise_magnitude,
        company=("x",),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "gelu",
        "gelu",
        draw_gelu,
        magnitude=gelu_magnitude,
        company=("x",),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "gelu",
        "gelu_tanh",
        draw_gelu,
        magnitude=gelu_magnitude,
        company=("x",),
        axis=1,
        routes=({"d": 300},),
    ),
    Spec(
        "rows",
        "gather",
        draw_gather,
        company=("x", "rows"),
        routes=({"d": 300},),
    ),
    Spec(
        "rows",
        "scatter",
        draw_scatter,
        company=("x", "new", "rows"),
        changes=("x",),
        routes=({"d": 300},),
    ),
    Spec(
        "rows",
        "append",
        draw_append,
        company=("cache", "new"),
        changes=("cache",),
        routes=({"d": 300},),
    ),
    Spec(
        "rows",
        "concat",
        draw_concat,
        company=("x", "y"),
        routes=({"d": 300},),
    ),
    Spec("rows", "repeat", draw_repeat, company=("x",), routes=({"d": 300},)),
    Spec(
        "noise",
        "uniforms_at",
        draw_noise,
        company=("images", "positions"),
        routes=({"m": 130, "b": 1},),
    ),
    Spec(
        "noise",
        "normals_at",
        draw_noise,
        magnitude=normals_at_magnitude,
        company=("images", "positions"),
        routes=({"m": 130, "b": 1},),
    ),
)
