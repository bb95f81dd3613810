"""rms_norm: squares do not cancel, so the magnitude is that of the result."""

import numpy as np
from hypothesis import given

from minigen.ops.rms_norm import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same


@given(st.n, st.d, st.seeds)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(n, d, seed):
    x, w = st.floats(seed, 2, n, d), st.floats(seed, d)
    y = cpu.rms_norm(x, w, 1e-5)
    for i in range(n):
        assert_same(cpu.rms_norm(x[1:, i : i + 1], w, 1e-5), y[1:, i : i + 1])


def test_the_scale_of_x_does_not_matter_but_zero_stays_zero():
    x, w = st.floats(0, 1, 3, 64), st.floats(1, 64)
    expected = reference.rms_norm(x.astype(np.float64), w.astype(np.float64), 0.0)
    assert_close(cpu.rms_norm(x * np.float32(1024), w, 0.0), expected, abs(expected))
    assert not cpu.rms_norm(np.zeros_like(x), w, 1e-5).any()
