"""Mixtures of Gaussians: densities that integrate to one, and draws that match them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.checking.spec import in_float64
from minigen.ops.mixture import cpu, reference
from minigen.ops.mixture.spec import (
    candidate_magnitude,
    draw_value_magnitude,
    softmax_magnitude,
)
from minigen.ops.noise import reference as noise
from tests import strategies as st
from tests.ops.test_noise import FAR, KEY, distance, normal
from tests.tolerance import assert_close, assert_same

g = hs.integers(1, 5)
f = hs.integers(1, 3)
m = hs.sampled_from((1, 2, 7, 64))
scales = hs.sampled_from((0.5, 1.0, 5.0))


def parameters(seed, b, g, f, scale=1.0):
    """Return weights (b g), means and log-variances (b g f) in float32."""
    x = st.floats(seed, b, 1, g * (2 * f + 1), scale=scale)
    return [np.ascontiguousarray(part[:, 0]) for part in cpu.mixture(x, g)]


@given(st.b, st.n, g, f, scales, st.seeds)
def test_mixture(b, n, g, f, scale, seed):
    x = st.floats(seed, b, n, g * (2 * f + 1), scale=scale)
    weights, means, log_variances = cpu.mixture(x, g)
    expected = reference.mixture(*in_float64(x), g)
    magnitude = softmax_magnitude(expected[0], x[..., -g:])
    assert_close(weights, expected[0], magnitude)
    assert_same(means, expected[1].astype(np.float32))
    assert_same(log_variances, expected[2].astype(np.float32))
    # every weight is rounded, and so is their sum
    assert abs(weights.sum(-1, dtype=np.float64) - 1).max() <= (g + 2) * 2.0**-23


@given(g, scales, st.seeds)
def test_a_density_integrates_to_one(g, scale, seed):
    given = parameters(seed, 2, g, 1, scale)
    # as many points for each component, over nine deviations on both sides
    wide, t = in_float64(*given), np.linspace(-9, 9, 1201)
    _, means, log_variances = wide
    points = np.sort((means + np.exp(0.5 * log_variances) * t).reshape(2, -1))
    exact = reference.log_density(points[..., None], *wide)
    rounded = cpu.log_density(points[..., None].astype(np.float32), *given)
    for density, allowed in ((exact, 1e-4), (rounded, 1e-3)):
        height = np.exp(density.astype(np.float64))
        areas = (height[:, 1:] + height[:, :-1]) / 2 * np.diff(points)
        assert abs(areas.sum(axis=1) - 1).max() < allowed
    # what training maximises lacks the constant
    off = reference.log_likelihood(points[..., None], *wide) - exact
    assert abs(off - 0.5 * math.log(2 * math.pi)).max() < 1e-12


def test_a_density_of_two_features_integrates_to_one():
    given = parameters(5, 1, 3, 2)
    side = np.linspace(-15, 15, 601)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(1, -1, 2)
    density = np.exp(reference.log_density(points, *given))
    assert abs(density.sum() * (side[1] - side[0]) ** 2 - 1) < 1e-5


@given(st.b, m, g, st.seeds)
def test_components(b, m, g, seed):
    weights = parameters(seed, b, g, 1)[0]
    u = np.random.default_rng(seed).random((b, m))
    drawn = cpu.draw_component(weights, u)
    assert_same(drawn, reference.draw_component(weights, u))
    assert 0 <= drawn.min() <= drawn.max() < g
    # the ends belong to the first and to the last
    ends = np.broadcast_to(np.array([0.0, 1.0]), (b, 2))
    assert (cpu.draw_component(weights, ends) == [0, g - 1]).all()


@given(st.b, m, g, f, st.seeds, hs.sampled_from((0.0, 0.9, 1.5)))
def test_values(b, m, g, f, seed, stretch):
    _, means, log_variances = parameters(seed, b, g, f)
    components = st.integers(seed, g, b, m)
    normals = st.floats(seed + 1, b, m, f)
    wide = in_float64(means, log_variances, normals)
    expected = reference.draw_value(components, *wide, stretch)
    given = components, means, log_variances, normals, stretch
    y = cpu.draw_value(*given)
    assert_close(y, expected, draw_value_magnitude(*given))
    if stretch == 0:
        assert_same(y, means[np.arange(b)[:, None], components])


@given(st.b, m, st.seeds, hs.sampled_from((0.0, 1.0, 1.5, 4.5)))
def test_candidates(b, m, seed, weight):
    likelihoods = [st.floats(seed + i, b, m, scale=3.0) for i in range(2)]
    expected = reference.candidate_probabilities(*in_float64(*likelihoods), weight)
    p = cpu.candidate_probabilities(*likelihoods, weight)
    magnitude = candidate_magnitude(expected, *likelihoods, weight)
    assert_close(p, expected, magnitude)
    if weight == 1:
        # no guidance: each candidate is as good as the next
        assert_same(p, np.full((b, m), np.float32(1) / np.float32(m)))


def cdf(weights, means, deviations):
    def below(x):
        terms = zip(weights, means, deviations, strict=True)
        return sum(w * normal((x - m) / s) for w, m, s in terms)

    return below


@pytest.mark.parametrize("stretch", [0.7, 1.0, 1.3])
def test_draws_have_the_density(stretch):
    weights, means, log_variances = parameters(11, 1, 4, 1)
    count, where = 16384, (KEY, np.array([0]), np.array([9]), 2, 0)
    components = cpu.draw_component(weights, noise.uniforms_at(*where, count))
    normals = noise.normals_at(*where, count)[..., None]
    x = cpu.draw_value(components, means, log_variances, normals, stretch)
    deviations = np.exp(0.5 * log_variances[0, :, 0]) * stretch
    expected = cdf(weights[0].tolist(), means[0, :, 0].tolist(), deviations.tolist())
    assert distance(x, expected) < FAR
    # and not that of another temperature
    other = cdf(weights[0].tolist(), means[0, :, 0].tolist(), 1.5 * deviations)
    assert distance(x, other) > FAR


@pytest.mark.parametrize("stretch", [0.7, 1.3])
def test_each_component_has_its_share_and_its_density(stretch):
    """Temperature widens or narrows the components; it does not weigh them."""
    weights, means, log_variances = parameters(11, 1, 4, 1)
    count, where = 16384, (KEY, np.array([3]), np.array([4]), 1, 0)
    components = cpu.draw_component(weights, noise.uniforms_at(*where, count))
    normals = noise.normals_at(*where, count)[..., None]
    x = cpu.draw_value(components, means, log_variances, normals, stretch)[0, :, 0]
    for k, p in enumerate(weights[0].tolist()):
        of_this = x[components[0] == k]
        n = len(of_this)
        # five standard deviations of a count
        assert abs(n - p * count) < 5 * math.sqrt(p * (1 - p) * count)
        assert n > 500
        mean = float(means[0, k, 0])
        deviation = math.exp(0.5 * log_variances[0, k, 0]) * stretch
        far = math.sqrt(math.log(2e6) / 2 / n)
        assert distance(of_this, cdf([1.0], [mean], [deviation])) < far
        assert distance(of_this, cdf([1.0], [mean], [deviation / stretch])) > far


def test_chosen_candidates_have_nearly_the_guided_density():
    """Of 1000 candidates one is chosen: near p_c (p_c / p_u)^(w - 1), by the grid."""
    conditional, unconditional = parameters(21, 1, 3, 1), parameters(22, 1, 3, 1)
    rows, count, weight = 2000, 1000, 2.5
    many = [np.repeat(each, rows, axis=0) for each in conditional]
    where = KEY, np.arange(rows), np.zeros(rows, np.int64), 0, 0, count
    components = cpu.draw_component(many[0], noise.uniforms_at(*where))
    normals = noise.normals_at(*where)[..., None]
    x = cpu.draw_value(components, many[1], many[2], normals, 1.0)
    points = x.reshape(1, -1, 1)
    of_both = [
        cpu.log_density(points, *part).reshape(rows, count)
        for part in (conditional, unconditional)
    ]
    p = cpu.candidate_probabilities(*of_both, weight)
    u = np.random.default_rng(3).random((rows, 1))
    chosen = (np.cumsum(p, axis=1, dtype=np.float64) <= u).sum(1).clip(max=count - 1)
    drawn = x[np.arange(rows), chosen, 0]
    grid = np.linspace(-12, 12, 24001)
    c, v = (
        reference.log_density(grid[None, :, None], *in_float64(*part))[0]
        for part in (conditional, unconditional)
    )
    below = np.cumsum(np.exp(c + (weight - 1) * (c - v)))
    below /= below[-1]

    def expected(value):
        return np.interp(value, grid, below)

    # one of a million tests leaves this distance; candidates repeat, which adds to it
    far = math.sqrt(math.log(2e6) / 2 / rows)
    assert distance(drawn, expected) < far
    plain = np.cumsum(np.exp(c))
    plain /= plain[-1]
    assert distance(drawn, lambda value: np.interp(value, grid, plain)) > far
