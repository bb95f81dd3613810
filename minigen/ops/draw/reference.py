"""From logits to probabilities to tokens.

Source: hp-l33/ARPG models/arpg.py::top_k_top_p_filtering and ::sample; the draw by
inverse distribution function replaces torch.multinomial.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import InputError, NotFiniteError

COLDEST = 1e-5
"""The floor of the temperature."""


def keep(logits, top_k, top_p, minimum=1):
    """(b m v) -> (b m v)

    Return a boolean mask of the logits that pass the filters.

    top_k > 0 keeps the k largest, and all that are equal to the last of them. top_p < 1
    then sorts what is left by size (equal ones by index) and keeps an entry if the
    probabilities before it sum to at most top_p: so the first is always kept, and so is
    the one that crosses top_p. `minimum` m > 1 keeps at least m for top_k, and m + 1
    for top_p, as upstream does. -inf is never kept, and NaN always.

    >>> keep(np.log([[[0.1, 0.5, 0.4]]]), top_k=0, top_p=0.6)[0, 0].tolist()
    [False, True, True]
    """
    v = logits.shape[-1]
    logits = np.asarray(logits)
    if top_k > 0:
        k = min(max(top_k, minimum), v)
        threshold = np.partition(logits, v - k, axis=-1)[..., v - k, None]
        logits = np.where(logits < threshold, -np.inf, logits)
    kept = logits != -np.inf
    if top_p < 1:
        order = np.argsort(-logits, axis=-1, kind="stable")
        p = _softmax(np.take_along_axis(logits, order, -1).astype(np.float64))
        remove = np.cumsum(p, axis=-1) > top_p
        if minimum > 1:
            remove[..., :minimum] = False
        remove = np.roll(remove, 1, axis=-1)
        remove[..., 0] = False
        np.put_along_axis(remove, order, remove.copy(), -1)
        kept &= ~remove
    return kept


def probabilities(logits, temperature, top_k, top_p):
    """(b m v) -> (b m v)
    where top_k < 2147483648

    Return softmax(logits / max(temperature, 1e-5)) over the logits that `keep` keeps.

    A row with NaN or +inf, or with -inf only, becomes NaN everywhere.

    >>> probabilities(np.log([[[1.0, 2.0, 5.0]]]), 1.0, 2, 1.0).round(3).tolist()
    [[[0.0, 0.286, 0.714]]]
    """
    logits = logits / logits.dtype.type(max(temperature, COLDEST))
    if top_k > 0 or top_p < 1:
        logits = np.where(keep(logits, top_k, top_p), logits, -np.inf)
    return _softmax(logits)


def draw(probabilities, uniforms):
    """(b m v), (b m) -> (b m)
    where uniforms are fractions

    Return int64 tokens by inverse distribution function.

    With c = cumsum(p) in float64, the token is the number of k with c_k <= u c_last.
    A token of probability zero is never drawn: if u is so close to 1 that u c_last
    rounds to c_last, the token is the last one with a probability above 0. Raises
    NotFiniteError unless all numbers of a row are finite and at least 0, and one is
    above 0; and InputError for a uniform outside of 0 .. 1.

    >>> draw(np.array([[[0.25, 0.0, 0.75]]]), np.array([[0.5]])).tolist()
    [[2]]
    """
    _expect_weights(probabilities)
    _expect_shares(uniforms)
    c = np.cumsum(probabilities, axis=-1, dtype=np.float64)
    last = c[..., -1:]
    below = (c <= uniforms[..., None].astype(np.float64) * last) & (c < last)
    return below.sum(axis=-1)


def _expect_shares(uniforms):
    """Raise InputError unless all uniforms lie in 0 .. 1."""
    if not ((uniforms >= 0) & (uniforms <= 1)).all():
        raise InputError("a uniform lies outside 0 .. 1")


def _expect_weights(weights):
    """Raise NotFiniteError unless each row of weights (.. v) can be drawn from.

    Its numbers must be finite and at least 0, and one of them above 0.
    """
    if not weights.size:
        return
    highest = weights.max(axis=-1)
    if not (weights.min() >= 0 and highest.min() > 0 and highest.max() < np.inf):
        raise NotFiniteError(
            "probabilities hold a number below 0, NaN or infinity, or nothing but 0"
        )


def _softmax(logits):
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
