"""The small ops of a Mamba block on a GPU: what their specifications do not say."""

import numpy as np

from minigen.checking.specs import SPECS, worst
from minigen.ops.add_rms_norm import cuda as add_rms_norm
from minigen.ops.gated_rms_norm import cuda as gated_rms_norm
from minigen.ops.rms_norm import cuda as rms_norm
from minigen.ops.silu import cuda as silu
from minigen.ops.step_size import cpu, reference
from minigen.ops.step_size import cuda as step_size
from tests import strategies as st
from tests.kernels.collect import ran as run
from tests.tolerance import FACTOR, assert_same


def test_silu_far_from_zero():
    x = np.float32([[[-1e30, -200.0, -90.0, -0.0, 0.0, 90.0, 200.0, 1e30]]])
    y = run(silu.silu, x)
    assert worst(SPECS["silu"], {"x": x}, y) <= FACTOR
    assert_same(y[x >= 90], x[x >= 90])


def test_a_step_far_from_zero_is_a_power_or_the_number_itself():
    x, bias = np.float32([[[-200.0, -90.0, 0.0, 90.0, 1e30]]]), np.zeros(5, np.float32)
    case = {"x": x, "bias": bias, "lowest": 0.0, "highest": np.inf}
    y = run(step_size.step_size, *case.values())
    assert worst(SPECS["step_size"], case, y) <= FACTOR
    assert_same(y[x >= 90], x[x >= 90])
    y = run(step_size.step_size, x, bias, 0.01, 0.1)
    assert y.min() == np.float32(0.01) and y.max() == np.float32(0.1)


def test_the_upper_limit_of_a_step_holds_where_the_lower_one_is_above_it():
    x, bias = np.float32([[[-90.0, 0.0, 90.0, np.nan]]]), np.zeros(4, np.float32)
    given = x, bias, 0.75, 0.2
    y = run(step_size.step_size, *given)
    assert_same(y, reference.step_size(*given))
    assert_same(y, cpu.step_size(*given))
    assert (y[..., :3] == np.float32(0.2)).all()


def test_add_rms_norm_is_add_then_rms_norm():
    x, residual, w = st.floats(0, 2, 3, 70), st.floats(1, 2, 3, 70), st.floats(2, 70)
    y, total = run(add_rms_norm.add_rms_norm, x, residual, w, 1e-5)
    assert_same(total, x + residual)
    again = run(rms_norm.rms_norm, total, w, 1e-5)
    np.testing.assert_allclose(y, again, rtol=1e-6)


def test_groups_know_nothing_of_each_other():
    x, z, w = st.floats(0, 1, 2, 12), st.floats(1, 1, 2, 12), st.floats(2, 12)
    for launcher in (gated_rms_norm.gate_rms_norm, gated_rms_norm.rms_norm_gate):
        y = run(launcher, x, z, w, 3, 1e-5)
        other = x.copy()
        other[..., 4:] *= 7
        again = run(launcher, other, z, w, 3, 1e-5)
        assert_same(again[..., :4], y[..., :4])
        assert (again[..., 4:] != y[..., 4:]).any()
