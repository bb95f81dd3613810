"""Specifications of what a tokenizer is made of."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec, absolute, linear_in_each
from minigen.checking.strategies import floats, integers, seeds
from minigen.checking.tolerance import EPS
from minigen.ops.conv2d import reference as conv2d
from minigen.ops.lookup import reference as lookup


@st.composite
def draw_group_norm(draw, sizes):
    """Draw x (b y x c), at times far from zero, w and bias (c), r, eps."""
    b, y, x, r = (draw(getattr(sizes, letter)) for letter in "byxr")
    c, dtype = r * draw(st.sampled_from((1, 2, 3, 4, 33))), draw(sizes.dtypes)
    offset, seed = draw(st.sampled_from((0.0, 30.0))), draw(seeds)
    images = floats(seed, b, y, x, c) + np.float32(offset)
    w, bias = floats(seed + 1, c, dtype=dtype), floats(seed + 2, c, dtype=dtype)
    return {"x": images, "w": w, "bias": bias, "r": r, "eps": 1e-6}


def group_norm_magnitude(x, w, bias, r, eps):
    """Return how far one eps of each input moves an output.

    Through the number itself, through the mean of its group, and the deviation.
    """
    x, w, bias = (a.astype(np.float64) for a in (x, w, bias))
    g = x.reshape(len(x), -1, r, x.shape[-1] // r)

    def mean(a):
        return a.mean((1, 3), keepdims=True)

    inverse = 1 / np.sqrt(mean((g - mean(g)) ** 2) + eps)
    through_mean = (abs(g) + mean(abs(g))) * inverse
    z = abs(g - mean(g)) * inverse
    through_deviation = z * np.sqrt(mean(g * g)) * inverse
    return (through_mean + through_deviation).reshape(x.shape) * abs(w) + abs(bias)


def group_norm_swish_magnitude(x, w, bias, r, eps):
    """Return that of group_norm times 1.1, the steepest slope of swish."""
    return 1.1 * group_norm_magnitude(x, w, bias, r, eps)


def conv2d_spec(name):
    """Return the specification of one of the convolutions."""

    @st.composite
    def draw_conv2d(draw, sizes):
        b, y, x, c, f = (draw(getattr(sizes, letter)) for letter in "byxcf")
        dtype, seed = draw(sizes.dtypes), draw(seeds)
        case = {
            "x": floats(seed, b, y, x, c),
            "w": floats(seed + 1, f, 3, 3, c, dtype=dtype),
            "bias": floats(seed + 2, f, dtype=dtype),
        }
        return case | ({"residual": floats(seed + 3, b, y, x, f)} if adds else {})

    adds = name.endswith("_add")
    magnitude = linear_in_each(getattr(conv2d, name))
    company = ("x", "residual") if adds else ("x",)
    return Spec("conv2d", name, draw_conv2d, magnitude, company=company)


@st.composite
def draw_upsample(draw, sizes):
    """Draw x (b y x c)."""
    b, y, x, c, seed = *(draw(getattr(sizes, s)) for s in "byxc"), draw(seeds)
    return {"x": floats(seed, b, y, x, c)}


@st.composite
def draw_unit(draw, sizes):
    """Draw x (n c)."""
    n, c, dtype, seed = draw(sizes.n), draw(sizes.c), draw(sizes.dtypes), draw(seeds)
    return {"x": floats(seed, n, c, dtype=dtype)}


def unit_magnitude(x):
    """Return |result|: squares do not cancel."""
    return lookup.unit(**absolute({"x": x}))


@st.composite
def draw_lookup(draw, sizes):
    """Draw z (n c) and codes (k c), whole numbers at times: then there are ties."""
    n, k, c = draw(sizes.n), draw(sizes.k), draw(sizes.c)
    dtype, seed, ties = draw(sizes.dtypes), draw(seeds), draw(st.booleans())
    z, codes = floats(seed, n, c), floats(seed + 1, k, c)
    if ties:
        z, codes = np.round(z), np.round(codes)
    return {"z": z, "codes": codes.astype(dtype)}


def distances_magnitude(z, codes):
    """Return the terms of the squared distances, none of them cancelling."""
    case = absolute({"z": z, "codes": codes})
    return lookup.distances(case["z"], -case["codes"])


def lookup_errors(z, codes, result):
    """Return how much farther the found codes are than the nearest ones.

    In eps of the terms of both distances, as far as rounding can decide between them;
    and infinity where it was a tie that could be seen, and not the lowest index.
    """
    inside = (result >= 0) & (result < len(codes))
    found = np.where(inside, result, 0).astype(np.int64)
    exact = lookup.distances(z.astype(np.float64), codes.astype(np.float64))
    size = distances_magnitude(z, codes)
    farther = exact[np.arange(len(z)), found] - exact.min(-1)
    off = farther / (2 * EPS * size.max(-1) + np.finfo(np.float64).tiny)
    # whole numbers have exact distances
    if not (z % 1).any() and not (codes.astype(np.float32) % 1).any():
        off = np.where(found == exact.argmin(-1), off, np.inf)
    return np.where(inside, off, np.inf)


@st.composite
def draw_to_pixels(draw, sizes):
    """Draw x (b y x c), some of it beyond -1 .. 1."""
    b, y, x, c, seed = *(draw(getattr(sizes, s)) for s in "byxc"), draw(seeds)
    return {"x": floats(seed, b, y, x, c)}


def to_pixels_errors(x, result):
    """Return how far 127.5 x + 128 lies from the grey values that would become it."""
    value = 127.5 * x.astype(np.float64) + 128
    lowest = np.where(result == 0, -np.inf, result)
    highest = np.where(result == 255, np.inf, result + 1.0)
    off = np.maximum(np.maximum(lowest - value, value - highest), 0)
    return off / (EPS * (127.5 * abs(x) + 128))


@st.composite
def draw_from_pixels(draw, sizes):
    """Draw image (b y x c) of uint8."""
    b, y, x, c, seed = *(draw(getattr(sizes, s)) for s in "byxc"), draw(seeds)
    return {"image": integers(seed, 256, b, y, x, c).astype(np.uint8)}


def from_pixels_magnitude(image):
    """Return 2 image / 255 + 1: both terms counted as positive."""
    return 2 * image / 255.0 + 1


SPECS = (
    Spec(
        "group_norm",
        "group_norm",
        draw_group_norm,
        magnitude=group_norm_magnitude,
        company=("x",),
    ),
    Spec(
        "group_norm",
        "group_norm_swish",
        draw_group_norm,
        magnitude=group_norm_swish_magnitude,
        company=("x",),
    ),
    conv2d_spec("conv3x3"),
    conv2d_spec("conv3x3_add"),
    conv2d_spec("conv3x3_half"),
    Spec("upsample", "upsample", draw_upsample, company=("x",)),
    Spec("lookup", "unit", draw_unit, magnitude=unit_magnitude, company=("x",)),
    Spec(
        "lookup",
        "distances",
        draw_lookup,
        magnitude=distances_magnitude,
        company=("z",),
        routes=({"k": 130},),
    ),
    Spec(
        "lookup",
        "lookup",
        draw_lookup,
        judge=lookup_errors,
        company=("z",),
        routes=({"k": 130},),
    ),
    Spec(
        "pixels",
        "to_pixels",
        draw_to_pixels,
        judge=to_pixels_errors,
        company=("x",),
    ),
    Spec(
        "pixels",
        "from_pixels",
        draw_from_pixels,
        magnitude=from_pixels_magnitude,
        company=("image",),
    ),
)
