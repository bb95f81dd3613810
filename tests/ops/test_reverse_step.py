"""reverse_step: against the reference, and at the bounds of its variance."""

import numpy as np
import pytest

from minigen.ops.reverse_step import cpu, reference
from tests.tolerance import assert_same

NUMBERS = (1.25, -0.75, -6.5, -1.5)


@pytest.mark.parametrize("op", [cpu, reference])
def test_the_log_variance_goes_from_bound_to_bound(op):
    between = np.float32([-1, 0, 1]).reshape(1, 3, 1)
    _, log_variance = op.reverse_step(between, between, between, *NUMBERS)
    assert_same(log_variance.ravel(), np.float32([-6.5, -4.0, -1.5]))
