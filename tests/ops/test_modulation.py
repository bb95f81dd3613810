"""The small ops of a Mamba block: each against its reference, and its own laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.add_rms_norm import cpu as add_rms_norm
from minigen.ops.add_rms_norm import reference as add_rms_norm_reference
from minigen.ops.gated_rms_norm import cpu as gated_rms_norm
from minigen.ops.modulate import cpu as modulate
from minigen.ops.rms_norm import cpu as rms_norm
from minigen.ops.silu import cpu as silu
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

scales = hs.sampled_from((1.0, 5.0, 100.0))


def test_the_second_half_is_the_gate():
    x = st.floats(0, 2, 3, 10)
    x[..., 5:] = -200
    assert not silu.gated_silu(x).any()


def test_nothing_shifts_and_scales_nothing():
    x, nothing = st.floats(0, 2, 3, 10), np.zeros((2, 1, 10), np.float32)
    assert_same(modulate.modulate(x, nothing, nothing) + 0, x + 0)
    assert not modulate.gate(x, nothing).any()


@given(st.b, st.n, st.d, st.seeds)
def test_add_rms_norm_is_add_then_rms_norm(b, n, d, seed):
    x, residual = st.floats(seed, b, n, d), st.floats(seed + 1, b, n, d)
    w = st.floats(seed + 2, d)
    y, total = add_rms_norm.add_rms_norm(x, residual, w, 1e-5)
    assert_same(total, x + residual)
    expected, _ = add_rms_norm_reference.add_rms_norm(total, 0 * total, w, 1e-5)
    assert_close(y, expected.astype(np.float64), abs(expected))
    assert_close(y, rms_norm.rms_norm(total, w, 1e-5).astype(np.float64), abs(y))


@pytest.mark.parametrize("name", ["gate_rms_norm", "rms_norm_gate"])
@given(st.b, st.n, st.c, st.h, scales, st.seeds)
def test_a_token_has_the_same_bits_alone(name, b, n, c, r, scale, seed):
    x, z = st.floats(seed, b, n, r * c), st.floats(seed + 1, b, n, r * c, scale=scale)
    w = st.floats(seed + 2, r * c)
    y = getattr(gated_rms_norm, name)(x, z, w, r, 1e-5)
    for i in range(n):
        part = slice(i, i + 1)
        alone = getattr(gated_rms_norm, name)(x[:, part], z[:, part], w, r, 1e-5)
        assert_same(alone, y[:, part])


def test_groups_know_nothing_of_each_other():
    x, z, w = (st.floats(i, 1, 1, 12) for i in range(3))
    y = gated_rms_norm.gate_rms_norm(x, z, w[0, 0], 3, 1e-5)
    x[..., 4:] *= 7
    again = gated_rms_norm.gate_rms_norm(x, z, w[0, 0], 3, 1e-5)
    assert_same(again[..., :4], y[..., :4])
