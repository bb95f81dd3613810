"""Mixtures of Gaussians on a GPU, interpreted: every launch is watched."""

import numpy as np

from minigen.ops.mixture import cuda, reference
from tests import strategies as st
from tests.kernels.collect import ran
from tests.tolerance import assert_same


def test_a_sum_that_a_uniform_reaches_belongs_to_the_next():
    weights = np.float32([[0.25, 0.25, 0.5], [0.0, 1.0, 0.0]])
    uniforms = np.float32([[0, 0.25, 0.49, 0.5, 1], [0, 0.25, 0.49, 0.999, 1]])
    expected = reference.draw_component(weights, uniforms)
    assert expected.tolist() == [[0, 1, 1, 2, 2], [1, 1, 1, 1, 2]]
    assert_same(ran(cuda.draw_component, weights, uniforms), expected)


def test_candidates_are_the_same_in_any_batch():
    likelihoods = [st.floats(i, 3, 300, scale=3.0) for i in range(2)]
    p = ran(cuda.candidate_probabilities, *likelihoods, 2.5)
    assert abs(p.sum(-1, dtype=np.float64) - 1).max() < 1e-5
    for i in range(3):
        alone = [each[i : i + 1] for each in likelihoods]
        one = ran(cuda.candidate_probabilities, *alone, 2.5, schedule=7)
        assert_same(one, p[i : i + 1])


def test_a_component_of_no_weight_and_a_far_point():
    one = np.zeros((1, 2, 1), np.float32)
    x = np.float32([[[0.0], [200.0]]])
    weights = np.float32([[1.0, 0.0]])
    y = ran(cuda.log_likelihood, x, weights, one, one)
    assert y.tolist() == [[0.0, -20000.0]]
