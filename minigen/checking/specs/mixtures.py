"""How far off the ops of ARINAR may be: the magnitude of each result."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from minigen.checking.specs.spec import Spec
from minigen.checking.strategies import floats, integers, seeds
from minigen.checking.tolerance import EPS, FACTOR
from minigen.ops.guided_mixture import reference as guided
from minigen.ops.mixture import reference as mixture


def wide(*arrays):
    """Return the arrays in float64."""
    return [each.astype(np.float64) for each in arrays]


def standardise_magnitude(x, eps):
    """Return s (|x| + mean|x|) + |z| (1 + m), with z the result and s its scale.

    The mean is off by what its terms add up to, and so is every difference from it; m,
    the root mean square of the first term, is by how much that moves the scale.
    """
    (x,) = wide(x)
    away = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((away * away).mean(-1, keepdims=True) + eps)
    spread = (abs(x) + abs(x).mean(-1, keepdims=True)) * scale
    moved = np.sqrt((spread * spread).mean(-1, keepdims=True))
    return spread + abs(away * scale) * (1 + moved)


def layer_norm_magnitude(x, w, bias, eps):
    """Return |w| times the magnitude of what is standardised, and |bias|."""
    return standardise_magnitude(x, eps) * abs(w) + abs(bias)


def softmax_magnitude(p, scores):
    """Return p (1 + |score| + max |score|): powers are moved by rounded exponents."""
    p, scores = wide(p, scores)
    largest = abs(scores).max(-1, keepdims=True)
    return p * (1 + abs(scores) + largest)


def log_likelihood_magnitude(x, weights, means, log_variances, constant=0.0):
    """Return the mean over components, by their share, of what their terms add up to.

    A difference from a mean is off by eps (|x| + |mean|), a variance by eps (1 + |ln
    variance|) of itself.
    """
    x, weights, means, log_variances = wide(x, weights, means, log_variances)
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
    mean, logs = (a[image, components] for a in wide(means, log_variances))
    away = abs(normals.astype(np.float64) * stretch) * np.exp(0.5 * logs)
    return abs(mean) + away * (2 + 0.5 * abs(logs))


def candidate_magnitude(p, conditional, unconditional, weight):
    """Return the magnitude of a softmax of rounded differences."""
    conditional, unconditional = wide(conditional, unconditional)
    return softmax_magnitude(p, 2 * (conditional - unconditional) * (weight - 1))


guidance = st.sampled_from((2.5, 1.0, 0.0, 4.0))
stretches = st.sampled_from((1.0, 0.7, 1.3))


def parameters(seed, b, g, f):
    """Return weights (b g), means and log-variances (b g f) in float32."""
    return mixture.mixture(floats(seed, b, g * (2 * f + 1)), g)


@st.composite
def draw_mixture(draw, sizes):
    """Draw x (b n d) of g components with f features, some of them far from 0."""
    b, n, g, f = (draw(getattr(sizes, letter)) for letter in "bngf")
    scale = draw(st.sampled_from((1.0, 50.0)))
    return {"x": floats(draw(seeds), b, n, g * (2 * f + 1), scale=scale), "g": g}


def mixture_magnitude(x, g):
    """Return the magnitudes of the weights, and of what is only copied."""
    weights, means, log_variances = mixture.mixture(*wide(x), g)
    copied = np.zeros(means.shape), np.zeros(log_variances.shape)
    return softmax_magnitude(weights, x[..., -g:]), *copied


@st.composite
def draw_density(draw, sizes):
    """Draw points (b m f), at times so far away that every exp underflows."""
    b, m, g, f = (draw(getattr(sizes, letter)) for letter in "bmgf")
    seed, scale = draw(seeds), draw(st.sampled_from((1.0, 30.0)))
    x = floats(seed, b, m, f, scale=scale)
    weights, means, log_variances = parameters(seed + 1, b, g, f)
    return {"x": x, "weights": weights, "means": means, "log_variances": log_variances}


@st.composite
def draw_components(draw, sizes):
    """Draw weights (b g) and uniforms (b m)."""
    b, m, g, seed = draw(sizes.b), draw(sizes.m), draw(sizes.g), draw(seeds)
    uniforms = np.random.default_rng(seed).random((b, m), np.float32)
    return {"weights": parameters(seed, b, g, 1)[0], "uniforms": uniforms}


def component_errors(weights, uniforms, result):
    """Return how far each uniform lies from its component's share, in g 2**-46.

    So much may be lost where sums are of whole numbers. What exceeds the sum of all
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


@st.composite
def draw_values(draw, sizes):
    """Draw components (b m), mixtures, normals (b m f) and a stretch."""
    b, m, g, f = (draw(getattr(sizes, letter)) for letter in "bmgf")
    seed, stretch = draw(seeds), draw(st.sampled_from((0.9, 0.0, 1.5)))
    _, means, log_variances = parameters(seed, b, g, f)
    return {
        "components": integers(seed, g, b, m),
        "means": means,
        "log_variances": log_variances,
        "normals": floats(seed + 1, b, m, f),
        "stretch": stretch,
    }


@st.composite
def draw_candidates(draw, sizes):
    """Draw two log-likelihoods (b m), at times large ones, and a weight."""
    b, m, seed = draw(sizes.b), draw(sizes.m), draw(seeds)
    scale = draw(st.sampled_from((3.0, 100.0)))
    names = "conditional", "unconditional"
    both = {name: floats(seed + i, b, m, scale=scale) for i, name in enumerate(names)}
    return both | {"weight": draw(guidance)}


def candidate_probabilities_magnitude(conditional, unconditional, weight):
    """Return `candidate_magnitude` of what the reference says."""
    both = wide(conditional, unconditional)
    p = mixture.candidate_probabilities(*both, weight)
    return candidate_magnitude(p, *both, weight)


@st.composite
def draw_draw_guided(draw, sizes):
    """Draw two mixtures (b g) of one feature, uniforms (b), weight and stretch."""
    b, g, seed = draw(sizes.b), draw(sizes.g), draw(seeds)
    names = "weights", "means", "logs"
    case = {}
    for i, prefix in enumerate(("", "other_")):
        parts = [part.reshape(b, g) for part in parameters(seed + i, b, g, 1)]
        case |= {f"{prefix}{n}": part for n, part in zip(names, parts, strict=True)}
    case["uniforms"] = np.random.default_rng(seed).random(b, np.float32)
    return case | {"weight": draw(guidance), "stretch": draw(stretches)}


def draw_guided_errors(
    weights,
    means,
    logs,
    other_weights,
    other_means,
    other_logs,
    uniforms,
    weight,
    stretch,
    result,
):
    """Return how far the distribution function at a result is from its uniform.

    In eps of what moves that function: the powers of the density at the points, off by
    what their terms add up to, each as its stretch has area; and the points, as the
    density changes about them. The result itself may be off by FACTOR eps of its size.
    """
    stretch = max(stretch, guided.COLDEST)
    rows = zip(
        *wide(weights, means, logs, other_weights, other_means, other_logs),
        uniforms.astype(np.float64),
        np.asarray(result, np.float64),
        strict=True,
    )
    return np.array([_guided_row(row, weight, stretch) for row in rows])


def _guided_row(row, weight, stretch):
    w, m, v, other_w, other_m, other_v, u, y = row
    if not np.isfinite(y):
        return np.inf
    spread = 2 * math.log(stretch)
    x, size = _sized_points(m, v + spread, other_m, other_v, abs(spread))
    tempered, moved = _sized_log(x, size, w, m, v + spread, abs(spread))
    of_both = (
        _sized_log(x, size, w, m, v),
        _sized_log(x, size, other_w, other_m, other_v),
    )
    ratio = of_both[0][0] - of_both[1][0]
    power = tempered + (weight - 1) * ratio
    moved += abs(weight - 1) * (of_both[0][1] + of_both[1][1] + abs(ratio))
    moved += abs(power) + abs(power.max())
    q = np.exp(power - power.max())
    areas = (q[1:] + q[:-1]) / 2 * np.diff(x)
    total = areas.sum()
    change = np.zeros(x.size)
    change[1:-1] = abs(q[2:] - q[:-2]) / 2
    change[0], change[-1] = (q[0] + q[1]) / 2, (q[-1] + q[-2]) / 2
    allowed = (areas * np.maximum(moved[1:], moved[:-1])).sum() + (size * change).sum()
    allowed = 5 + allowed / total
    before = np.append(0.0, np.cumsum(areas))

    def below(value):
        # the share of the area below a value
        if value < x[0] or value >= x[-1]:
            return float(value >= x[-1])
        i = int(np.searchsorted(x, value, side="right")) - 1
        away = value - x[i]
        slope = (q[i + 1] - q[i]) / (x[i + 1] - x[i])
        return (before[i] + (q[i] + slope * away / 2) * away) / total

    slack = FACTOR * EPS * np.interp(y, x, size)
    return max(below(y - slack) - u, u - below(y + slack), 0.0) / (EPS * allowed)


def _sized_points(means, logs, other_means, other_logs, spread):
    # the sorted points of all components, and of what size what they are made of is
    t = np.linspace(-guided.REACH, guided.REACH, guided.POINTS)

    def of(means, logs, spread):
        away = np.exp(0.5 * logs)[:, None] * t
        size = abs(means)[:, None] + abs(away) * (2 + abs(logs)[:, None] / 2 + spread)
        return (means[:, None] + away).ravel(), size.ravel()

    (here, size), (there, its) = of(means, logs, spread), of(other_means, other_logs, 0)
    low, high = here.min(), here.max()
    its = np.where((there > low) & (there < high), its, size.max())
    x = np.append(here, there.clip(low, high))
    order = np.argsort(x, kind="stable")
    return x[order], np.append(size, its)[order]


def _sized_log(x, size, weights, means, logs, spread=0.0):
    # the logarithm of a mixture at points, and the magnitude of it
    away, precision = x[:, None] - means, np.exp(-logs)
    squares = away * away * precision
    powers = np.log(weights) - 0.5 * (squares + logs)
    highest = powers.max(-1, keepdims=True)
    share = np.exp(powers - highest)
    whole = share.sum(-1)
    moved = 2 * abs(away) * (size[:, None] + abs(means)) * precision
    moved = moved + (2 + abs(logs) + spread) * (1 + squares)
    terms = abs(np.log(weights)) + 0.5 * moved + abs(powers) + abs(highest)
    value = highest[:, 0] + np.log(whole)
    return value, (share * terms).sum(-1) / whole + abs(highest[:, 0]) + 1 + abs(value)


def _spec(name, draw, company, **rest):
    return Spec("mixture", name, draw, company=company, **rest)


_DENSITY = "x", "weights", "means", "log_variances"
_VALUES = "components", "means", "log_variances", "normals"
_GUIDED = "weights", "means", "logs", "other_weights", "other_means", "other_logs"

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
        routes=({"b": 1, "m": 300},),
    ),
    Spec(
        "guided_mixture",
        "draw_guided",
        draw_draw_guided,
        judge=draw_guided_errors,
        company=(*_GUIDED, "uniforms"),
        # as many components as ARINAR's mixtures have
        routes=({"b": 1, "g": 4},),
    ),
)
