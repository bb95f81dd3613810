"""The small ops of a Mamba block: each against its reference, and its own laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.checking.specs import states
from minigen.ops.add_rms_norm import cpu as add_rms_norm
from minigen.ops.add_rms_norm import reference as add_rms_norm_reference
from minigen.ops.columns import cpu as columns
from minigen.ops.columns import reference as columns_reference
from minigen.ops.gated_rms_norm import cpu as gated_rms_norm
from minigen.ops.gated_rms_norm import reference as gated_rms_norm_reference
from minigen.ops.modulate import cpu as modulate
from minigen.ops.modulate import reference as modulate_reference
from minigen.ops.rms_norm import cpu as rms_norm
from minigen.ops.silu import cpu as silu
from minigen.ops.silu import reference as silu_reference
from minigen.ops.step_size import cpu as step_size
from minigen.ops.step_size import reference as step_size_reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

scales = hs.sampled_from((1.0, 5.0, 100.0))


def wide(*arrays):
    return [each.astype(np.float64) for each in arrays]


@given(st.b, st.n, st.f, scales, st.seeds)
def test_silu(b, n, f, scale, seed):
    x = st.floats(seed, b, n, f, scale=scale)
    expected = silu_reference.silu(*wide(x))
    assert_close(silu.silu(x), expected, states.silu_magnitude(x))


@given(st.b, st.n, st.f, scales, st.seeds)
def test_gated_silu(b, n, f, scale, seed):
    x = st.floats(seed, b, n, 2 * f, scale=scale)
    value, gate = np.split(x, 2, axis=-1)
    magnitude = abs(value) * states.silu_magnitude(gate)
    y = silu.gated_silu(x)
    assert_close(y, silu_reference.gated_silu(*wide(x)), magnitude)
    # the second half is the gate: closed, nothing passes
    gate[...] = -200
    assert not silu.gated_silu(x).any()


@given(st.b, st.n, st.d, st.seeds, hs.data())
def test_columns(b, n, d, seed, data):
    x = st.floats(seed, b, n, d)
    first = data.draw(hs.integers(0, d - 1))
    last = data.draw(hs.integers(first + 1, d))
    expected = columns_reference.columns(x, first, last)
    assert_same(columns.columns(x, first, last), expected)


@given(st.b, st.n, st.d, st.seeds)
def test_modulate_and_gate(b, n, d, seed):
    x, shift, scale = (st.floats(seed + i, b, m, d) for i, m in enumerate((n, 1, 1)))
    magnitude = abs(x) * (1 + abs(scale)) + abs(shift)
    y = modulate.modulate(x, shift, scale)
    assert_close(y, modulate_reference.modulate(*wide(x, shift, scale)), magnitude)
    y = modulate.gate(x, scale)
    assert_close(y, modulate_reference.gate(*wide(x, scale)), abs(x * scale))
    nothing = np.zeros_like(shift)
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
def test_gated_rms_norm(name, b, n, c, r, scale, seed):
    x, z = st.floats(seed, b, n, r * c), st.floats(seed + 1, b, n, r * c, scale=scale)
    w = st.floats(seed + 2, r * c)
    y = getattr(gated_rms_norm, name)(x, z, w, r, 1e-5)
    expected = getattr(gated_rms_norm_reference, name)(*wide(x, z, w), r, 1e-5)
    magnitude = getattr(states, f"{name}_magnitude")(x, z, w, r, 1e-5)
    assert_close(y, expected, magnitude)
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


@given(st.b, st.n, st.h, scales, st.seeds)
def test_step_size(b, n, h, scale, seed):
    x, bias = st.floats(seed, b, n, h, scale=scale), st.floats(seed + 1, h)
    for limits in ((0.0, np.inf), (0.05, 0.2)):
        magnitude = states.step_size_magnitude(x, bias, *limits)
        y = step_size.step_size(x, bias, *limits)
        expected = step_size_reference.step_size(*wide(x, bias), *limits)
        assert_close(y, expected, magnitude)
        assert (y >= np.float32(limits[0])).all() and (y <= np.float32(limits[1])).all()
