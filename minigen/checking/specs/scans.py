"""Specifications of what carries a state along a sequence."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec
from minigen.checking.specs.states import scan_magnitude, ssd_magnitude
from minigen.checking.strategies import floats, seeds
from minigen.ops.step_size import reference as step_size

CHUNKS, LONG = st.sampled_from((1, 2, 3, 8, 64)), st.sampled_from((17, 33, 64, 65))
"""Tokens of a chunk: of a short sequence, and of a long one, which few chunks make."""


def step_sizes(seed, *shape):
    """Return step sizes: most below one, some of them zero, a few so long that all is
    forgotten.

    >>> bool((step_sizes(0, 2, 3) >= 0).all())
    True
    """
    raw = floats(seed, *shape, scale=4.0) - np.float32(2)
    delta = step_size.step_size(raw, np.zeros(shape[-1], np.float32), 0.0, np.inf)
    delta[raw < -6] = 0
    delta[raw > 8] *= 10
    return delta


@st.composite
def draw_selective_scan(draw, sizes):
    """Draw x and delta (b n c), A_log (c s), B and C (b n r s), D (c), state (b c s),
    for r groups of channels."""
    b, n, r, s = (draw(getattr(sizes, letter)) for letter in "bnrs")
    c, dtype, seed = r * draw(sizes.c), draw(sizes.dtypes), draw(seeds)
    return {
        "x": floats(seed, b, n, c),
        "delta": step_sizes(seed + 1, b, n, c),
        "A_log": floats(seed + 2, c, s, dtype=dtype),
        "B": floats(seed + 3, b, n, r, s),
        "C": floats(seed + 4, b, n, r, s),
        "D": floats(seed + 5, c, dtype=dtype),
        "state": floats(seed + 6, b, c, s),
    }


@st.composite
def draw_ssd(draw, sizes):
    """Draw x (b n h p), delta (b n h), A_log (h), B and C (b n r s), D (h) and state
    (b h p s), for r groups of heads."""
    b, n, p, r, s = (draw(getattr(sizes, letter)) for letter in "bnprs")
    h, dtype, seed = r * draw(sizes.h), draw(sizes.dtypes), draw(seeds)
    return {
        "x": floats(seed, b, n, h, p),
        "delta": step_sizes(seed + 1, b, n, h),
        "A_log": floats(seed + 2, h, dtype=dtype),
        "B": floats(seed + 3, b, n, r, s),
        "C": floats(seed + 4, b, n, r, s),
        "D": floats(seed + 5, h, dtype=dtype),
        "state": floats(seed + 6, b, h, p, s),
    }


@st.composite
def draw_ssd_chunked(draw, sizes):
    """Draw the arguments of ssd, and the tokens of a chunk."""
    case = draw(draw_ssd(sizes))
    chunks = CHUNKS if case["x"].shape[1] <= 16 else LONG
    return case | {"chunk": draw(chunks)}


def ssd_chunked_magnitude(chunk, **case):
    """Return those of ssd: chunks say the same in other words."""
    return ssd_magnitude(**case)


COMPANY = ("x", "delta", "B", "C", "state")
"""Arguments that have a row for each image."""

# a single token; tokens for two warps; of more than a block has before it at a time
SCAN_ROUTES = (
    {"n": 1},
    {"b": 1, "n": 67, "r": 1, "c": 1, "s": 2},
    {"b": 1, "n": 257, "r": 1, "c": 1, "s": 1},
)

# tiles of 64: of tokens, of channels and of states
CHUNKED_ROUTES = (
    {"b": 1, "n": 66, "r": 1, "h": 1, "p": 2, "s": 3},
    {"b": 1, "n": 2, "r": 1, "h": 1, "p": 65, "s": 66},
)

SPECS = (
    Spec(
        "selective_scan",
        "selective_scan",
        draw_selective_scan,
        magnitude=scan_magnitude,
        company=COMPANY,
        changes=("state",),
        routes=SCAN_ROUTES,
    ),
    Spec(
        "ssd",
        "ssd",
        draw_ssd,
        magnitude=ssd_magnitude,
        company=COMPANY,
        changes=("state",),
        routes=({"b": 1, "s": 33},),
    ),
    Spec(
        "ssd",
        "ssd_chunked",
        draw_ssd_chunked,
        magnitude=ssd_chunked_magnitude,
        company=COMPANY,
        changes=("state",),
        routes=CHUNKED_ROUTES,
    ),
)
