"""Random numbers for rows: those of their counters, and of the right distribution."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.noise import cpu
from minigen.ops.uniforms import reference as uniforms
from tests import strategies as st
from tests.tolerance import assert_same

KEY = np.uint32([5, 7])
# the largest distance of two distribution functions that 16384 numbers leave in one of
# a million tests: sqrt(ln(2 / 1e-6) / 2 / n)
COUNT, FAR = 16384, math.sqrt(math.log(2e6) / 2 / 16384)


def numbers(function, rows=4, step=3, first=100):
    images, positions = np.arange(rows), 10 * np.arange(rows)
    return function(KEY, images, positions, step, first, COUNT // rows)


def distance(sample, distribution):
    """Return the Kolmogorov-Smirnov distance of numbers from a distribution."""
    x = np.sort(np.ravel(sample).astype(np.float64))
    below = np.array([distribution(v) for v in x])
    steps = np.arange(len(x) + 1) / len(x)
    return max(abs(below - steps[:-1]).max(), abs(below - steps[1:]).max())


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


@given(st.b, hs.integers(1, 5), hs.integers(0, 9), st.seeds)
def test_a_number_is_that_of_its_counters(b, m, first, seed):
    images, positions = st.integers(seed, 50, b), st.integers(seed + 1, 256, b)
    for function in (cpu.uniforms_at, cpu.normals_at):
        together = function(KEY, images, positions, 3, first, m)
        assert together.shape == (b, m) and together.dtype == np.float32
        for i in range(b):
            row = images[i : i + 1], positions[i : i + 1], 3
            assert_same(function(KEY, *row, first, m)[0], together[i])
            assert_same(function(KEY, *row, first + m - 1, 1)[0], together[i, -1:])
    u = cpu.uniforms_at(KEY, images, positions, 3, first, m)
    expected = uniforms.uniforms(KEY, images[:1], positions[:1], 3, first)
    assert u[0, 0] == expected[0, 0]


def test_uniforms_are_uniform():
    u = numbers(cpu.uniforms_at)
    assert u.min() > 0 and u.max() < 1
    assert distance(u, lambda v: v) < FAR


def test_normals_are_normal_and_independent():
    z = numbers(cpu.normals_at)
    assert distance(z, normal) < FAR
    u = numbers(cpu.uniforms_at)
    others = (u.ravel()[:], z.ravel()[::-1], np.roll(z.ravel(), 1))
    for other in others:
        # five standard deviations of a correlation of independent numbers
        assert abs(np.corrcoef(z.ravel(), other)[0, 1]) < 5 / math.sqrt(COUNT)
