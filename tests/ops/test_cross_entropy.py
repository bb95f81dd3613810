"""cross_entropy: in nats, whatever is added to all logits of a row."""

import numpy as np
from hypothesis import given

from minigen.checking.specs.draws import cross_entropy_magnitude
from minigen.ops.cross_entropy import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close


@given(st.b, st.n, st.v, st.seeds)
def test_close_to_the_reference(b, n, v, seed):
    logits, targets = st.floats(seed, b, n, v, scale=3.0), st.integers(seed, v, b, n)
    wide = logits.astype(np.float64)
    magnitude = cross_entropy_magnitude(logits, targets)
    expected = reference.cross_entropy(wide, targets)
    assert_close(cpu.cross_entropy(logits, targets), expected, magnitude)


def test_logits_that_overflow_without_care():
    logits = np.float32([[[1000.0, 0.0], [-1000.0, -1000.0]]])
    loss = cpu.cross_entropy(logits, np.array([[1, 0]]))
    assert_close(loss, (1000.0 + np.log(2)) / 2, 1000.0)
