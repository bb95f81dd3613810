"""Near-ties: draws that the rounding of float32 decides.

A token is drawn by where a uniform lies among the cumulative sums of weights. All
weights come from rounded numbers, so only bounds of each are known. If the uniform lies
in the intervals that two tokens may have, it is a near-tie, and both tokens are right.

How large is the rounding? Every op is within FACTOR eps32 of the magnitudes it sums:
tests ensure this. A path through a layer takes about OPS ops, in both runs. Errors are
independent, so n of them add up to sqrt(n) times one. All is relative to the largest
number of the result, and guidance multiplies it: the error of u + (c - u) w is
|w| + |1 - w| times as large.

Source: Higham and Mary, "A new approach to probabilistic rounding error analysis" (SIAM
J. Sci. Comput. 41, 2019), for the square root.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from minigen.ops.draw import reference as draw
from minigen.ops.mixture import reference as mixtures

EPS, FACTOR = 2.0**-23, 4.0
OPS = 10

SUMS = 2.0**-46
"""What a weight may lose where sums are those of integers: `ops/draw/cuda.py`."""

MOST = 300.0
"""An error of a logarithm that is larger than this is taken as infinite."""


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of v tokens, not normalised, and their lower and upper bounds."""

    now: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Tie:
    """The distance of a uniform from the interval of a token, and what rounding allows.

    Both are probabilities. The margin is infinite if no token fits.
    """

    margin: float
    allowed: float

    @property
    def near(self) -> bool:
        return self.margin <= self.allowed


NONE = Tie(math.inf, 0.0)
"""Not a tie of any kind."""


def rounding(layers: int, steps: int = 1) -> float:
    """Return the largest difference of two runs, relative to the largest number.

    layers: on the path; steps: the number of steps that read rounded numbers.
    """
    return FACTOR * EPS * math.sqrt(2 * OPS * layers * steps)


def guided(weight: float) -> float:
    """Return the factor by which guidance multiplies an error; guidance 1 is none."""
    return abs(weight) + abs(1 - weight)


def tie(weights: Weights, uniform: float, token: int) -> Tie:
    """Return the `Tie` of a token: how far a uniform is from drawing it.

    An unknown token, which is negative, is NONE.

    >>> even = np.array([0.5, 0.5])
    >>> tie(Weights(even, 0.9 * even, 1.1 * even), 0.52, 0)
    Tie(margin=0.020000000000000018, allowed=0.050000000000028466)
    """
    if token < 0 or not weights.high[token] > 0:
        return NONE
    now, low, high = weights.now, weights.low, weights.high
    slack, total = len(now) * SUMS, now.sum()
    before, upto = now[:token].sum() / total, now[: token + 1].sum() / total
    if uniform < before:
        least = low[:token].sum()
        least /= least + high[token:].sum()
        return Tie(float(before - uniform), float(before - least + slack))
    most = high[: token + 1].sum()
    most /= most + low[token + 1 :].sum()
    return Tie(float(max(uniform - upto, 0.0)), float(most - upto + slack))


def of_codes(z: np.ndarray, error: float, top_k: int, top_p: float) -> Weights:
    """Return the weights of logits z (v), float64, each with an error of up to `error`.

    If it is a near-tie whether a filter keeps a token, its lower bound is 0.
    """
    error = min(error, MOST)
    w = np.exp(z - z.max())
    kept = draw.keep(z, top_k, top_p)
    sure = possible = z > -np.inf
    if top_k > 0:
        falling, k = np.append(-np.sort(-z), -np.inf), min(top_k, len(z))
        sure = sure & (z > falling[k] + 2 * error)
        possible = possible & (z >= falling[k - 1] - 2 * error)
    if top_p < 1:
        order = np.argsort(-z)
        down = _sums(np.where(sure, w * np.exp(-error), 0), order)
        up = _sums(np.where(possible, w * np.exp(error), 0), order)
        # how many entries come before each for sure, and how many may, itself too
        ahead = np.searchsorted(-z[order], -(z + 2 * error), "left")
        upto = np.searchsorted(-z[order], -(z - 2 * error), "right")
        own = w * np.exp(error)
        most, rest = up[upto] - own * possible, down[-1] - down[upto] + own * sure
        sure = sure & (most <= top_p * (most + rest))
        least, rest = down[ahead], up[-1] - up[ahead]
        possible = possible & (least <= top_p * (least + rest))
    return Weights(
        np.where(kept, w, 0),
        np.where(sure, w * np.exp(-error), 0),
        np.where(possible, w * np.exp(error), 0),
    )


def _sums(weights, order):
    return np.append(0.0, np.cumsum(weights[order]))


def of_components(weights: np.ndarray, error: float) -> Weights:
    """Return the weights (g) of a mixture whose logits are known up to `error`."""
    factor = np.exp(min(error, MOST))
    return Weights(weights, weights / factor, weights * factor)


def components(weights: Weights, uniform: float) -> list[int]:
    """Return the components that a uniform draws, or may draw after other rounding."""
    return [k for k in range(len(weights.now)) if tie(weights, uniform, k).near]


def of_candidates(x, conditional, other, p, uniforms, weight, error):
    """Return the weights of candidates x (m), and {candidate: values it may also have}.

    conditional, other: mixtures, weights, means, log-variances, (g) each, which are
    known up to `error`; p (m): the candidates' probabilities; uniforms (m): those that
    drew their components; weight: what exceeds 1 of the guidance.
    """
    w, means, logs = conditional

    def log_ratio(x):
        at = x[None, :, None]
        of_both = (
            mixtures.log_density(at, a[None], m[None, :, None], v[None, :, None])[0]
            for a, m, v in (conditional, other)
        )
        return np.subtract(*of_both) * weight

    off = sum(density_error(x, *each) for each in (conditional, other))
    off = np.minimum(abs(weight) * error * off, MOST)
    low, high = p * np.exp(-off), p * np.exp(off)
    made = of_components(w, error)
    # uniforms near a sum of weights: few, so the others are left out at once
    sums = np.cumsum(w)[:-1]
    drawn = (sums[None] <= uniforms[:, None]).sum(1)
    near = 4 * error * sums * (1 - sums) + 2 * len(w) * SUMS
    close = np.nonzero((np.abs(uniforms[:, None] - sums) <= near).any(1))[0]
    others = {}
    for j in close:
        normal = (x[j] - means[drawn[j]]) * np.exp(-0.5 * logs[drawn[j]])
        for k in components(made, uniforms[j]):
            if k != drawn[j]:
                y = means[k] + normal * np.exp(0.5 * logs[k])
                others.setdefault(int(j), []).append(y)
                change = np.subtract(*log_ratio(np.array([y, x[j]])))
                q = p[j] * np.exp(np.clip(change, -MOST, MOST))
                low[j] = min(low[j], q * np.exp(-off[j]))
                high[j] = max(high[j], q * np.exp(off[j]))
    return Weights(p, low, high), others


def density_error(x, weights, means, logs):
    """Return by how much log-densities (m) of x (m) move, for each unit that the
    numbers of a mixture (g) do: those of the components they come from."""
    z = np.abs(x[:, None] - means) * np.exp(-0.5 * logs)
    with np.errstate(divide="ignore"):
        powers = np.log(weights) - 0.5 * (z * z + logs)
    shares = np.exp(powers - powers.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    # of x - mean twice, as x was made of such numbers too; of the variance; of logits
    return (shares * (2 * z * np.exp(-0.5 * logs) + (z * z + 1) / 2 + 2)).sum(1)
