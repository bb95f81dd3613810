"""Specifications of what turns logits into tokens."""

import numpy as np

from minigen.checking import tolerance
from minigen.checking.spec import Spec, floats
from minigen.checking.tolerance import EPS, FACTOR
from minigen.ops.draw import reference


def draw_probabilities(draw):
    """Draw logits (b m v), some with many ties, and the three settings."""
    b, m, v, seed = *draw.sizes("bmv"), draw.seed()
    logits = floats(seed, b, m, v, scale=draw.among(2.0, 50.0))
    if draw.among(False, True):
        logits = np.floor(logits)
    return {
        "logits": logits,
        "temperature": draw.among(1.0, 0.0, 0.5, 3.0),
        "top_k": draw.among(0, -1, 1, 2, 5, 40, 1000),
        "top_p": draw.among(1.0, -0.5, 0.0, 0.1, 0.5, 0.9, 1.5),
    }


def probability_magnitude(logits, probabilities):
    """Return how far one eps of each logit z moves a probability: p (1 + 2 max |z|)."""
    return probabilities * (1 + 2 * abs(logits).max(axis=-1, keepdims=True))


def probability_errors(logits, temperature, top_k, top_p, result):
    """Return the errors of probabilities, whichever way top_p falls on a near tie.

    Where the sum before an entry is as near to top_p as rounding can tell, it may be
    kept or not; those that are kept are always the first ones, largest first and equal
    ones by index.
    """
    z = logits / logits.dtype.type(max(temperature, reference.COLDEST))
    v = z.shape[-1]
    rows = zip(z.reshape(-1, v), result.reshape(-1, v), strict=True)
    off = [_row_errors(row, given, top_k, top_p) for row, given in rows]
    return np.array(off).reshape(z.shape)


def _row_errors(row, given, top_k, top_p):
    order = np.argsort(-row, kind="stable")
    p = np.zeros(row.size)
    most = least = int(reference.keep(row, top_k, 1.0).sum())
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


def draw_draw(draw):
    """Draw probabilities (b m v), some of them zero, and uniforms (b m)."""
    b, m, v, seed = *draw.sizes("bmv"), draw.seed()
    logits, top_p = floats(seed, b, m, v, scale=3.0), draw.among(1.0, 0.9)
    uniforms = np.random.default_rng(seed).random((b, m), np.float32)
    p = reference.probabilities(logits, 1.0, 0, top_p)
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


SPECS = (
    Spec(
        "probabilities",
        draw_probabilities,
        judge=probability_errors,
        batched=("logits",),
        routes=(
            {"b": 1, "m": 1, "v": 600},
            {"b": 1, "m": 2, "v": 600, "top_k": 9, "top_p": 0.5},
        ),
    ),
    Spec(
        "draw",
        draw_draw,
        judge=draw_errors,
        batched=("probabilities", "uniforms"),
        routes=({"b": 2, "m": 3, "v": 600},),
    ),
)
