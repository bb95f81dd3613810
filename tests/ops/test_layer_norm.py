"""Layer norm and GELU: against their references, and their own laws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.gelu import cpu as gelu
from minigen.ops.layer_norm import cpu as layer_norm
from minigen.ops.layer_norm import reference as layer_norm_reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same


@given(st.b, st.n, st.d, st.seeds)
def test_a_row_has_the_same_bits_alone(b, n, d, seed):
    x = st.floats(seed, b, n, d)
    y = layer_norm.standardise(x, 1e-6)
    for i in range(n):
        alone = layer_norm.standardise(x[:, i : i + 1], 1e-6)
        assert_same(alone, y[:, i : i + 1])


@given(st.b, st.n, hs.sampled_from((31, 64)), st.seeds)
def test_neither_a_shift_nor_a_scale_is_seen(b, n, d, seed):
    x = st.floats(seed, b, n, d).astype(np.float64)
    y = layer_norm_reference.standardise(3 * x + 7, 0.0)
    assert np.allclose(y, layer_norm_reference.standardise(x, 0.0), atol=1e-12)
    assert np.allclose(y.mean(-1), 0) and np.allclose((y * y).mean(-1), 1)


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh"])
def test_gelu_of_opposites_differs_by_the_number(name):
    x = np.linspace(-8, 8, 4097, dtype=np.float32)[None, None]
    y = getattr(gelu, name)
    assert_close(y(x) - y(-x), x.astype(np.float64), 2 * abs(x))
    far = np.float32([[[-100.0, 0.0, 100.0, -np.float32(3e38), np.float32(3e38)]]])
    assert y(far).tolist() == [[[0.0, 0.0, 100.0, 0.0, far[0, 0, -1]]]]


def test_the_two_forms_are_close_but_not_the_same():
    x = np.linspace(-8, 8, 4097, dtype=np.float32)[None, None]
    off = abs(gelu.gelu(x) - gelu.gelu_tanh(x)).max()
    assert 1e-4 < off < 5e-4


def test_erf_is_within_two_units_in_the_last_place():
    x = np.linspace(-6, 6, 20001, dtype=np.float32)
    # gelu(x) = x (1 + erf(x / sqrt 2)) / 2
    expected = np.array([v * math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()])
    assert_close(gelu.gelu(x[None, None])[0, 0], expected, abs(x))
