"""Draws from the guided density of a feature: against its distribution function."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.checking.spec import in_float64
from minigen.ops.guided_mixture import cpu, reference
from minigen.ops.mixture import reference as mixture
from tests import strategies as st
from tests.ops.test_mixture import parameters
from tests.ops.test_noise import distance
from tests.tolerance import assert_same

g = hs.integers(1, 5)


def both(seed, b, g, scale=1.0):
    """Return six arrays (b g): of a conditional and of an unconditional mixture."""
    halves = parameters(seed, b, g, 1, scale), parameters(seed + 1, b, g, 1, scale)
    return [part.reshape(b, g) for half in halves for part in half]


@given(st.b, g, st.seeds, hs.sampled_from((0.0, 1.0, 3.0)), hs.sampled_from((0.7, 1.3)))
def test_a_row_has_the_same_bits_alone(b, g, seed, weight, stretch):
    given = both(seed, b, g)
    u = np.random.default_rng(seed).random(b)
    y = cpu.draw_guided(*given, u, weight, stretch)
    for i in range(b):
        alone = [each[i : i + 1] for each in (*given, u)]
        assert cpu.draw_guided(*alone, weight, stretch)[0] == y[i]


@given(g, st.seeds, hs.sampled_from((1.0, 2.5)))
def test_a_larger_uniform_draws_a_larger_value(g, seed, weight):
    rows = 50
    given = [np.repeat(each, rows, axis=0) for each in both(seed, 1, g)]
    y = cpu.draw_guided(*given, np.linspace(0, 1, rows), weight, 1.0)
    assert (np.diff(y) >= 0).all()


@given(st.b, g, st.seeds, hs.sampled_from((0.7, 1.0, 1.3)))
def test_guidance_away_from_the_same_changes_nothing(b, g, seed, stretch):
    halves = 2 * both(seed, b, g)[:3]
    u = np.random.default_rng(seed).random(b)
    one, other = (cpu.draw_guided(*halves, u, weight, stretch) for weight in (1.0, 4.0))
    assert_same(one, other)


@pytest.mark.parametrize("weight", [1.0, 2.5])
@pytest.mark.parametrize("stretch", [0.8, 1.0, 1.2])
def test_draws_have_the_guided_density(weight, stretch):
    rows = 4096
    given = both(21, 1, 3)
    many = [np.repeat(each, rows, axis=0) for each in given]
    # one uniform of each of as many equal parts: no chance is left
    u = (np.arange(rows) + 0.5) / rows
    drawn = cpu.draw_guided(*many, u, weight, stretch)
    deviations = np.exp(0.5 * given[2][0]) * stretch
    low = (given[1][0] - reference.REACH * deviations).min()
    high = (given[1][0] + reference.REACH * deviations).max()
    grid = np.linspace(low, high, 200001)
    c, tempered, other = (
        mixture.log_density(grid[None, :, None], w, m[..., None], v[..., None])[0]
        for w, m, v in (
            in_float64(*given[:3]),
            in_float64(*given[:2], given[2] + 2 * math.log(stretch)),
            in_float64(*given[3:]),
        )
    )
    below = np.cumsum(np.exp(tempered + (weight - 1) * (c - other)))
    below /= below[-1]
    # lines between a few hundred points; and half a part of the uniforms
    off = distance(drawn, lambda value: np.interp(value, grid, below))
    assert off < 0.002


def test_the_coldest_draw_is_a_mean():
    given = both(3, 4, 1)
    y = cpu.draw_guided(*given, np.full(4, 0.5), 1.0, 0.0)
    assert abs(y - given[1][:, 0]).max() < 1e-5
