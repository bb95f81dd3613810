"""Specifications of what a transformer is made of."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from minigen.checking.specs.spec import Spec, absolute, linear_in_each, wide
from minigen.checking.strategies import floats, integers, seeds
from minigen.checking.tolerance import EPS, TINY
from minigen.ops.attention import reference as attention
from minigen.ops.linear import reference as linear
from minigen.ops.rms_norm import reference as rms_norm
from minigen.ops.rope2d import reference as rope2d
from minigen.ops.swiglu import reference as swiglu


@st.composite
def draw_linear(draw, sizes):
    """Draw x (b n d) or (b y x d), w (f d), and at times bias (f), residual like x."""
    d, f, dtype, seed = draw(sizes.d), draw(sizes.f), draw(sizes.dtypes), draw(seeds)
    rows = draw(sizes.b), *draw(st.tuples(sizes.n) | st.tuples(sizes.y, sizes.x))
    return {
        "x": floats(seed, *rows, d),
        "w": floats(seed, f, d, dtype=dtype),
        "bias": floats(seed + 1, f, dtype=dtype) if draw(sizes.given) else None,
        "residual": floats(seed + 2, *rows, f) if draw(sizes.given) else None,
    }


@st.composite
def draw_embed(draw, sizes):
    """Draw table (t d), ids (b n)."""
    b, n, t, d = draw(sizes.b), draw(sizes.n), draw(sizes.t), draw(sizes.d)
    dtype, seed = draw(sizes.dtypes), draw(seeds)
    return {"table": floats(seed, t, d, dtype=dtype), "ids": integers(seed, t, b, n)}


@st.composite
def draw_rms_norm(draw, sizes):
    """Draw x (b n d), w (d), eps; x so small at times that eps decides."""
    b, n, d = draw(sizes.b), draw(sizes.n), draw(sizes.d)
    dtype, scale = draw(sizes.dtypes), draw(st.sampled_from((1.0, 1e-3)))
    eps, seed = draw(st.sampled_from((1e-5, 1e-6))), draw(seeds)
    x, w = floats(seed, b, n, d, scale=scale), floats(seed, d, dtype=dtype)
    return {"x": x, "w": w, "eps": eps}


@st.composite
def draw_swiglu(draw, sizes):
    """Draw gate and up (b n f); gates so large at times that exp overflows."""
    b, n, f, seed = draw(sizes.b), draw(sizes.n), draw(sizes.f), draw(seeds)
    gate = floats(seed, b, n, f, scale=draw(st.sampled_from((5.0, 100.0))))
    return {"gate": gate, "up": floats(seed + 1, b, n, f)}


def swiglu_magnitude(gate, up):
    """Return |silu(gate) up|: nothing is subtracted.

    Where exp(-|gate|) is below the smallest normal number it may be flushed to zero.
    """
    gate, up = gate.astype(np.float64), up.astype(np.float64)
    return abs(swiglu.swiglu(gate, up)) + TINY / EPS * abs(gate * up)


@st.composite
def draw_rope2d(draw, sizes):
    """Draw x (b n h e), a table of a grid (t e/2 2), rows (b n)."""
    b, n, h, e = draw(sizes.b), draw(sizes.n), draw(sizes.h), draw(sizes.e)
    y, x, seed = draw(sizes.y), draw(sizes.x), draw(seeds)
    table, rows = rope2d.table(y, x, e, 100.0), integers(seed, 1 + y * x, b, n)
    return {"x": floats(seed, b, n, h, e), "table": table, "rows": rows}


def rope2d_magnitude(x, table, rows):
    """Return |x0 c| + |x1 s| and |x1 c| + |x0 s|: both products counted as positive."""
    x, table = abs(x.astype(np.float64)), abs(table.astype(np.float64))
    turned = table.copy()
    turned[..., 1] *= -1
    return np.maximum(rope2d.rope2d(x, turned, rows), rope2d.rope2d(x, table, rows))


@st.composite
def draw_attention(draw, sizes):
    """Draw q (b m h e), k and v (b n r e), NaN from a drawn length on."""
    b, m, n, h, e = (draw(getattr(sizes, letter)) for letter in "bmnhe")
    r = draw(sharing(h))
    length = max(n - draw(st.sampled_from((0, 1, n // 2, n))), 1)
    seed = draw(seeds)
    q = floats(seed, b, m, h, e, scale=draw(st.sampled_from((1.0, 100.0))))
    k, v = floats(seed + 1, b, n, r, e), floats(seed + 2, b, n, r, e)
    # what lies beyond the length must not be read
    k[:, length:] = v[:, length:] = np.nan
    return {"q": q, "k": k, "v": v, "length": length}


@st.composite
def draw_attention_causal(draw, sizes):
    """Draw q (b n h e), k and v (b n r e)."""
    b, n, h, e = (draw(getattr(sizes, letter)) for letter in "bnhe")
    seed, scale = draw(seeds), draw(st.sampled_from((1.0, 100.0)))
    q, shape = floats(seed, b, n, h, e, scale=scale), (b, n, draw(sharing(h)), e)
    return {"q": q, "k": floats(seed + 1, *shape), "v": floats(seed + 2, *shape)}


def sharing(h):
    """Return a strategy for the heads of keys that h heads of queries can share."""
    return st.sampled_from([r for r in range(h, 0, -1) if h % r == 0])


def attention_magnitude(q, k, v, length=None):
    """Return how far one eps of each input moves the output.

    v enters linearly: the reference with |v|. A score moves by |q| |k| / sqrt(e), which
    changes its weight by that factor; all weights together by twice the largest.
    """
    inputs = wide({"q": q, "k": k[:, :length], "v": abs(v[:, :length])})
    if length is None:
        terms = attention.attention_causal(**inputs)
    else:
        terms = attention.attention(**inputs, length=length)
    q, k = abs(inputs["q"]), abs(inputs["k"])
    k = np.repeat(k.max(1, keepdims=True), q.shape[2] // k.shape[2], axis=2)
    largest = np.einsum("bmhe,bnhe->bmh", q, k)
    factor = 1 + 2 * largest / np.sqrt(q.shape[-1])
    return terms * factor[..., None]


def rms_norm_magnitude(x, w, eps):
    """Return |result|: squares do not cancel."""
    return rms_norm.rms_norm(**absolute({"x": x, "w": w}), eps=eps)


# columns that are a multiple of 16 bytes, and no such; few rows, and more than 64
_ROWS = {"b": 1, "n": 66, "y": 11, "x": 6}
LINEAR_ROUTES = (
    {"b": 2, "n": 5, "d": 40, "f": 5},
    _ROWS | {"d": 17, "f": 3},
    _ROWS | {"d": 24, "f": 3, "dtypes": np.dtype(bfloat16)},
)

# more keys than a tile of 64, heads that are no multiple of 16 bytes, and wide ones
ATTENTION_ROUTES = (
    {"b": 1, "n": 70, "h": 1, "e": 8},
    {"b": 1, "e": 6},
    {"b": 1, "n": 5, "h": 1, "e": 132},
)

SPECS = (
    Spec(
        "linear",
        "linear",
        draw_linear,
        magnitude=linear_in_each(linear.linear),
        company=("x", "residual"),
        axis=1,
        routes=LINEAR_ROUTES,
    ),
    Spec("embed", "embed", draw_embed, company=("ids",), routes=({"d": 150},)),
    Spec(
        "rms_norm",
        "rms_norm",
        draw_rms_norm,
        magnitude=rms_norm_magnitude,
        company=("x",),
        axis=1,
        routes=({"d": 150},),
    ),
    Spec(
        "swiglu",
        "swiglu",
        draw_swiglu,
        magnitude=swiglu_magnitude,
        company=("gate", "up"),
        axis=1,
        routes=({"f": 300},),
    ),
    Spec(
        "rope2d",
        "rope2d",
        draw_rope2d,
        magnitude=rope2d_magnitude,
        company=("x", "rows"),
        axis=1,
    ),
    Spec(
        "attention",
        "attention",
        draw_attention,
        magnitude=attention_magnitude,
        company=("q",),
        axis=1,
        routes=ATTENTION_ROUTES,
    ),
    Spec(
        "attention",
        "attention_causal",
        draw_attention_causal,
        magnitude=attention_magnitude,
        company=("q", "k", "v"),
        routes=ATTENTION_ROUTES,
    ),
)
