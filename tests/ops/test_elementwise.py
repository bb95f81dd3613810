"""Arithmetic entry by entry: the same bits in NumPy, in Numba's table and on a GPU."""

import operator

import numpy as np
import pytest
from hypothesis import given

from minigen import arrays
from minigen.ops.elementwise import cpu, cuda, reference
from tests import strategies as st
from tests.tolerance import assert_same

TWO = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul}


@pytest.mark.parametrize("name", TWO)
@given(st.b, st.n, st.d, st.seeds)
def test_two_arrays(name, b, n, d, seed):
    x, y = st.floats(seed, b, n, d), st.floats(seed + 1, b, n, d)
    expected, device = TWO[name](x, y), arrays.Interpreter(watch=True)
    assert_same(getattr(reference, name)(x, y), expected)
    assert_same(getattr(cpu, name)(x, y), expected)
    moved = device.put(x), device.put(y)
    assert_same(device.get(getattr(cuda, name)(device, *moved)), expected)


@given(st.b, st.n, st.d, st.seeds)
def test_a_number_times_an_array(b, n, d, seed):
    x, device = st.floats(seed, b, n, d), arrays.Interpreter(watch=True)
    for factor in (0.2325, 1.0, -1.0):
        expected = x * np.float32(factor)
        assert_same(reference.scale(x, factor), expected)
        assert_same(cpu.scale(x, factor), expected)
        assert_same(device.get(cuda.scale(device, device.put(x), factor)), expected)


@given(st.b, st.n, st.d, st.seeds)
def test_a_root_is_rounded_once(b, n, d, seed):
    x, device = st.floats(seed, b, n, d), arrays.Interpreter(watch=True)
    expected = np.sqrt(abs(x).astype(np.float64)).astype(np.float32)
    expected[x < 0] = np.nan
    for root in (reference.sqrt(x), cpu.sqrt(x)):
        np.testing.assert_array_equal(root, expected)
    root = device.get(cuda.sqrt(device, device.put(x)))
    np.testing.assert_array_equal(root, expected)


def test_a_difference_is_the_sum_with_minus_one_times_the_other():
    numbers = np.float32([0.0, -0.0, 1.5, -1e-45, 1e38])
    x, y = (part.copy().reshape(-1) for part in np.meshgrid(numbers, numbers))
    assert_same(cpu.subtract(x, y), cpu.add(x, cpu.scale(y, -1.0)))
