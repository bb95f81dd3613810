"""Mixtures of Gaussians on a GPU, interpreted: every launch is watched."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from minigen.checking.specs import SPECS, mixtures, worst
from minigen.checking.strategies import SMALL
from minigen.ops.mixture import cuda, reference
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.tolerance import FACTOR, assert_same

NAMES = [spec.name for spec in mixtures.SPECS if spec.op == "mixture"]
schedules = hs.integers(0, 99)


def run(name, *arguments, schedule=0):
    """Return what a launcher makes of host arrays."""
    device = Recorder(seed=schedule)
    moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in arguments]
    results = getattr(cuda, name)(device, *moved)
    for launch in device.launches:
        assert launch.findings() == [], launch.name
    if isinstance(results, tuple):
        return tuple(map(device.get, results))
    return device.get(results)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8)
@given(hs.data(), schedules)
def test_close_to_the_reference(name, data, schedule):
    case = data.draw(SPECS[name].draw(SMALL))
    assert (
        worst(SPECS[name], case, run(name, *case.values(), schedule=schedule)) <= FACTOR
    )


def test_a_sum_that_a_uniform_reaches_belongs_to_the_next():
    weights = np.float32([[0.25, 0.25, 0.5], [0.0, 1.0, 0.0]])
    uniforms = np.float32([[0, 0.25, 0.49, 0.5, 1], [0, 0.25, 0.49, 0.999, 1]])
    expected = reference.draw_component(weights, uniforms)
    assert expected.tolist() == [[0, 1, 1, 2, 2], [1, 1, 1, 1, 2]]
    assert_same(run("draw_component", weights, uniforms), expected)


def test_candidates_are_the_same_alone_and_in_company():
    likelihoods = [st.floats(i, 3, 300, scale=3.0) for i in range(2)]
    p = run("candidate_probabilities", *likelihoods, 2.5)
    assert abs(p.sum(-1, dtype=np.float64) - 1).max() < 1e-5
    for i in range(3):
        alone = [each[i : i + 1] for each in likelihoods]
        one = run("candidate_probabilities", *alone, 2.5, schedule=7)
        assert_same(one, p[i : i + 1])


def test_a_component_of_no_weight_and_a_far_point():
    one = np.zeros((1, 2, 1), np.float32)
    x = np.float32([[[0.0], [200.0]]])
    weights = np.float32([[1.0, 0.0]])
    y = run("log_likelihood", x, weights, one, one)
    assert y.tolist() == [[0.0, -20000.0]]
