"""Specifications of mixtures of Gaussians."""

import math

import numpy as np

from minigen.checking.spec import Spec, floats, in_float64, integers
from minigen.ops.mixture import reference


def softmax_magnitude(p, scores):
    """Return p (1 + |score| + max |score|): powers are moved by rounded exponents."""
    p, scores = in_float64(p, scores)
    largest = abs(scores).max(-1, keepdims=True)
    return p * (1 + abs(scores) + largest)


def log_likelihood_magnitude(x, weights, means, log_variances, constant=0.0):
    """Return the mean over components, by their share, of what their terms add up to.

    A difference from a mean is off by eps (|x| + |mean|), a variance by eps (1 + |ln
    variance|) of itself.
    """
    x, weights, means, log_variances = in_float64(x, weights, means, log_variances)
    away = x[:, :, None] - means[:, None]
    size = abs(x[:, :, None]) + abs(means[:, None])
    precision, logs = np.exp(-log_variances)[:, None], log_variances[:, None]
    squares = away * away * precision
    powers = np.log(weights)[:, None] - 0.5 * (squares + logs).sum(-1)
    moved = 2 * abs(away) * size * precision + (2 + abs(logs)) * squares + abs(logs)
    terms = abs(np.log(weights))[:, None] + 0.5 * moved.sum(-1)
    highest = powers.max(-1, keepdims=True)
    share = np.exp(powers - highest)
    total = share.sum(-1)
    of_all = (share * (terms + abs(powers) + abs(highest))).sum(-1) / total
    return of_all + abs(highest[..., 0]) + 1 + np.log(total) + constant


def log_density_magnitude(x, weights, means, log_variances):
    """Return the magnitude of the log-likelihood and the constant."""
    constant = 0.5 * x.shape[-1] * math.log(2 * math.pi)
    return log_likelihood_magnitude(x, weights, means, log_variances, constant)


def draw_value_magnitude(components, means, log_variances, normals, stretch):
    """Return |mean| + |normal stretch deviation| (2 + |ln deviation|)."""
    image = np.arange(len(components))[:, None]
    mean, logs = (a[image, components] for a in in_float64(means, log_variances))
    away = abs(normals.astype(np.float64) * stretch) * np.exp(0.5 * logs)
    return abs(mean) + away * (2 + 0.5 * abs(logs))


def candidate_magnitude(p, conditional, unconditional, weight):
    """Return the magnitude of a softmax of rounded differences."""
    conditional, unconditional = in_float64(conditional, unconditional)
    return softmax_magnitude(p, 2 * (conditional - unconditional) * (weight - 1))


GUIDANCE = (2.5, 1.0, 0.0, 4.0)


def parameters(seed, b, g, f):
    """Return weights (b g), means and log-variances (b g f) in float32."""
    return reference.mixture(floats(seed, b, g * (2 * f + 1)), g)


def draw_mixture(draw):
    """Draw x (b n d) of g components with f features, some of them far from 0."""
    b, n, g, f = draw.sizes("bngf")
    scale = draw.among(1.0, 50.0)
    return {"x": floats(draw.seed(), b, n, g * (2 * f + 1), scale=scale), "g": g}


def mixture_magnitude(x, g):
    """Return the magnitudes of the weights, and of what is only copied."""
    weights, means, log_variances = reference.mixture(*in_float64(x), g)
    copied = np.zeros(means.shape), np.zeros(log_variances.shape)
    return softmax_magnitude(weights, x[..., -g:]), *copied


def draw_density(draw):
    """Draw points (b m f), at times so far away that every exp underflows."""
    b, m, g, f = draw.sizes("bmgf")
    seed, scale = draw.seed(), draw.among(1.0, 30.0)
    x = floats(seed, b, m, f, scale=scale)
    weights, means, log_variances = parameters(seed + 1, b, g, f)
    return {"x": x, "weights": weights, "means": means, "log_variances": log_variances}


def draw_components(draw):
    """Draw weights (b g) and uniforms (b m)."""
    b, m, g, seed = *draw.sizes("bmg"), draw.seed()
    uniforms = np.random.default_rng(seed).random((b, m), np.float32)
    return {"weights": parameters(seed, b, g, 1)[0], "uniforms": uniforms}


def component_errors(weights, uniforms, result):
    """Return how far each uniform lies from its component's share, in g 2**-46.

    So much may be lost where sums are of integers. What exceeds the sum of all
    weights belongs to the last.
    """
    g = weights.shape[-1]
    ends = np.cumsum(weights, axis=-1, dtype=np.float64)
    ends = np.concatenate([np.zeros((len(ends), 1)), ends], axis=-1)
    ends[:, -1] = np.inf
    inside = (result >= 0) & (result < g)
    k = np.where(inside, result, 0).astype(np.int64)
    first, last = (np.take_along_axis(ends, k + i, -1) for i in range(2))
    u = uniforms.astype(np.float64)
    off = np.maximum(np.maximum(first - u, u - last), 0) / (g * 2.0**-46)
    return np.where(inside, off, np.inf)


def draw_values(draw):
    """Draw components (b m), mixtures, normals (b m f) and a stretch."""
    b, m, g, f = draw.sizes("bmgf")
    seed, stretch = draw.seed(), draw.among(0.9, 0.0, 1.5)
    _, means, log_variances = parameters(seed, b, g, f)
    return {
        "components": integers(seed, g, b, m),
        "means": means,
        "log_variances": log_variances,
        "normals": floats(seed + 1, b, m, f),
        "stretch": stretch,
    }


def draw_candidates(draw):
    """Draw two log-likelihoods (b m), at times large ones, and a weight."""
    b, m, seed = *draw.sizes("bm"), draw.seed()
    scale = draw.among(3.0, 100.0)
    names = "conditional", "unconditional"
    both = {name: floats(seed + i, b, m, scale=scale) for i, name in enumerate(names)}
    return both | {"weight": draw.among(*GUIDANCE)}


def candidate_probabilities_magnitude(conditional, unconditional, weight):
    """Return `candidate_magnitude` of what the reference says."""
    both = in_float64(conditional, unconditional)
    p = reference.candidate_probabilities(*both, weight)
    return candidate_magnitude(p, *both, weight)


def _spec(name, draw, batched, **rest):
    return Spec(name, draw, batched=batched, **rest)


_DENSITY = "x", "weights", "means", "log_variances"
_VALUES = "components", "means", "log_variances", "normals"

SPECS = (
    _spec("mixture", draw_mixture, ("x",), magnitude=mixture_magnitude),
    _spec("log_density", draw_density, _DENSITY, magnitude=log_density_magnitude),
    _spec("log_likelihood", draw_density, _DENSITY, magnitude=log_likelihood_magnitude),
    _spec(
        "draw_component",
        draw_components,
        ("weights", "uniforms"),
        judge=component_errors,
    ),
    _spec("draw_value", draw_values, _VALUES, magnitude=draw_value_magnitude),
    _spec(
        "candidate_probabilities",
        draw_candidates,
        ("conditional", "unconditional"),
        magnitude=candidate_probabilities_magnitude,
        routes=({"m": 300},),
    ),
)
