"""reverse_step: against the reference, and at the bounds of its variance."""

import numpy as np
import pytest
from hypothesis import given

from minigen.checking.specs import normals
from minigen.ops.reverse_step import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

NUMBERS = (1.25, -0.75, -6.5, -1.5)


@given(st.b, st.n, st.c, st.seeds)
def test_mean_and_log_variance(b, n, c, seed):
    arrays = [st.floats(seed + i, b, n, c) for i in range(3)]
    wide = [each.astype(np.float64) for each in arrays]
    ours = cpu.reverse_step(*arrays, *NUMBERS)
    expected = reference.reverse_step(*wide, *NUMBERS)
    magnitudes = normals.reverse_step_magnitude(*arrays, *NUMBERS)
    for one, other, magnitude in zip(ours, expected, magnitudes, strict=True):
        assert_close(one, other, magnitude)


@pytest.mark.parametrize("op", [cpu, reference])
def test_the_log_variance_goes_from_bound_to_bound(op):
    between = np.float32([-1, 0, 1]).reshape(1, 3, 1)
    _, log_variance = op.reverse_step(between, between, between, *NUMBERS)
    assert_same(log_variance.ravel(), np.float32([-6.5, -4.0, -1.5]))
