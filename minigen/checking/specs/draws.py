"""Specifications of what turns logits into tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigen.checking import tolerance
from minigen.checking.specs.spec import Spec, wide
from minigen.checking.strategies import floats, integers, seeds
from minigen.checking.tolerance import EPS, FACTOR
from minigen.ops.draw import reference as draws

guidance = st.sampled_from((1.5, -2.0, 0.0, 1.0, 7.0))
temperatures = st.sampled_from((1.0, 0.0, 0.5, 3.0))
top_ks = st.sampled_from((0, -1, 1, 2, 5, 40, 1000))
top_ps = st.sampled_from((1.0, -0.5, 0.0, 0.1, 0.5, 0.9, 1.5))


@st.composite
def draw_guide(draw, sizes):
    """Draw logits (2b m v) and a weight."""
    b, m, v, seed = draw(sizes.b), draw(sizes.m), draw(sizes.v), draw(seeds)
    return {"logits": floats(seed, 2 * b, m, v), "weight": draw(guidance)}


def guide_magnitude(logits, weight):
    """Return |l_u| + (|l_c| + |l_u|) |weight|."""
    conditional, unconditional = np.split(abs(logits.astype(np.float64)), 2)
    return unconditional + (conditional + unconditional) * abs(weight)


@st.composite
def draw_probabilities(draw, sizes):
    """Draw logits (b m v), some with many ties, and the three settings."""
    b, m, v, seed = draw(sizes.b), draw(sizes.m), draw(sizes.v), draw(seeds)
    logits = floats(seed, b, m, v, scale=draw(st.sampled_from((2.0, 50.0))))
    if draw(st.booleans()):
        logits = np.floor(logits)
    settings = {"temperature": temperatures, "top_k": top_ks, "top_p": top_ps}
    return {"logits": logits} | {name: draw(s) for name, s in settings.items()}


def probability_magnitude(logits, probabilities):
    """Return how far one eps of each logit z moves a probability: p (1 + 2 max |z|)."""
    return probabilities * (1 + 2 * abs(logits).max(axis=-1, keepdims=True))


def probability_errors(logits, temperature, top_k, top_p, result):
    """Return the errors of probabilities, whichever way top_p falls on a near tie.

    Where the sum before an entry is as near to top_p as rounding can tell, it may be
    kept or not; those that are kept are always the first ones, largest first and equal
    ones by index.
    """
    z = logits / logits.dtype.type(max(temperature, draws.COLDEST))
    v = z.shape[-1]
    rows = zip(z.reshape(-1, v), result.reshape(-1, v), strict=True)
    off = [_row_errors(row, given, top_k, top_p) for row, given in rows]
    return np.array(off).reshape(z.shape)


def _row_errors(row, given, top_k, top_p):
    order = np.argsort(-row, kind="stable")
    p = np.zeros(row.size)
    most = least = int(draws.keep(row, top_k, 1.0).sum())
    if top_p < 1:
        p[:most] = _softmax(row[order][:most].astype(np.float64))
        before = np.cumsum(p)[:most] - p[:most]
        slack = FACTOR * EPS * (1 + 2 * abs(row).max())
        least = max(int((before <= top_p - slack).sum()), 1)
        most = max(int((before <= top_p + slack).sum()), 1)
    tried = []
    for count in range(least, most + 1):
        p = np.zeros(row.size)
        kept = order[:count]
        p[kept] = _softmax(row[kept].astype(np.float64))
        size = probability_magnitude(row[kept], p)
        tried.append(tolerance.errors(given, p, size))
    return min(tried, key=np.max)


def _softmax(row):
    powers = np.exp(row - row.max())
    return powers / powers.sum()


@st.composite
def draw_draw(draw, sizes):
    """Draw probabilities (b m v), some of them zero, and uniforms (b m)."""
    b, m, v, seed = draw(sizes.b), draw(sizes.m), draw(sizes.v), draw(seeds)
    logits, top_p = floats(seed, b, m, v, scale=3.0), draw(st.sampled_from((1.0, 0.9)))
    uniforms = np.random.default_rng(seed).random((b, m), np.float32)
    p = draws.probabilities(logits, 1.0, 0, top_p)
    return {"probabilities": p, "uniforms": uniforms}


def draw_errors(probabilities, uniforms, result):
    """Return how far each uniform lies from its token's share, in eps of the whole.

    The share of token k is what lies between the sum of the probabilities before it and
    that with it. A token of probability zero has none, and is infinitely wrong.
    """
    p = probabilities.astype(np.float64)
    v = p.shape[-1]
    inside = (result >= 0) & (result < v)
    token = np.where(inside, result, 0).astype(np.int64)[..., None]
    whole = p.sum(-1)
    end = np.take_along_axis(p.cumsum(-1), token, -1)[..., 0]
    share = np.take_along_axis(p, token, -1)[..., 0]
    point = uniforms.astype(np.float64) * whole
    off = np.maximum(np.maximum(end - share - point, point - end), 0) / (EPS * whole)
    return np.where(inside & (share > 0), off, np.inf)


@st.composite
def draw_cross_entropy(draw, sizes):
    """Draw logits (b n v), at times so large that exp overflows, and targets (b n)."""
    b, n, v, seed = draw(sizes.b), draw(sizes.n), draw(sizes.v), draw(seeds)
    logits = floats(seed, b, n, v, scale=draw(st.sampled_from((3.0, 100.0))))
    return {"logits": logits, "targets": integers(seed, v, b, n)}


def cross_entropy_magnitude(logits, targets):
    """Return 1 + 2 mean max |logits|.

    An eps of each logit moves the loss by its probability, and by one at the target.
    """
    return 1.0 + 2 * np.mean(wide({"x": abs(logits)})["x"].max(axis=-1))


SPECS = (
    Spec(
        "guide",
        "guide",
        draw_guide,
        magnitude=guide_magnitude,
        company=("logits",),
        axis=1,
    ),
    Spec(
        "draw",
        "probabilities",
        draw_probabilities,
        judge=probability_errors,
        company=("logits",),
        routes=({"b": 1, "m": 1, "v": 600},),
    ),
    Spec(
        "draw",
        "draw",
        draw_draw,
        judge=draw_errors,
        company=("probabilities", "uniforms"),
        routes=({"b": 1, "m": 1, "v": 600},),
    ),
    Spec(
        "cross_entropy",
        "cross_entropy",
        draw_cross_entropy,
        magnitude=cross_entropy_magnitude,
        routes=({"v": 300},),
    ),
)
