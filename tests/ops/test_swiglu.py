"""swiglu, and the exponential that it and the softmaxes share."""

import numpy as np
from hypothesis import given

from minigen.cpu.scalar import exp
from minigen.ops.swiglu import cpu, reference
from tests import strategies as st
from tests.tolerance import EPS, assert_close, assert_same


def test_gates_far_from_zero():
    gate = np.float32([[[-1e30, -200.0, -90.0, 90.0, 200.0, 1e30]]])
    up = np.ones_like(gate)
    inputs = gate.astype(np.float64), up.astype(np.float64)
    magnitude = reference.swiglu(*map(abs, inputs))
    assert_close(cpu.swiglu(gate, up), reference.swiglu(*inputs), magnitude)


@given(st.n, st.f, st.seeds)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(n, f, seed):
    gate, up = st.floats(seed, 2, n, f), st.floats(seed + 1, 2, n, f)
    y = cpu.swiglu(gate, up)
    for i in range(n):
        assert_same(cpu.swiglu(gate[1:, i], up[1:, i]), y[1:, i])


def test_exp_is_within_its_stated_error():
    for x in np.linspace(-87, 88, 4001).astype(np.float32):
        true = np.exp(np.float64(x))
        assert abs(exp(x) - true) <= 1.0 * EPS * true
    assert exp(np.float32(0)) == 1


def test_exp_outside_of_its_range():
    assert exp(np.float32(-87.5)) == exp(np.float32(-np.inf)) == 0
    assert exp(np.float32(89)) == exp(np.float32(np.inf)) == np.inf
    assert np.isnan(exp(np.float32(np.nan)))
