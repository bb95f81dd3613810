"""linear: values, and that a row's result has the same bits in any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from

from minigen.ops.linear import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same


def wide(array):
    return array.astype(np.float64)


@given(st.b, st.y, st.x, st.d, st.f, st.weight_dtypes, st.seeds)
def test_bias_and_residual_are_added_of_pixels_too(b, y, x, d, f, dtype, seed):
    pixels, w = st.floats(seed, b, y, x, d), st.floats(seed, f, d, dtype=dtype)
    bias, residual = st.floats(seed + 1, f, dtype=dtype), st.floats(seed, b, y, x, f)
    for ending in ((bias, None), (None, residual), (bias, residual)):
        inputs = [one if one is None else wide(one) for one in (pixels, w, *ending)]
        positive = [one if one is None else abs(one) for one in inputs]
        expected, magnitude = reference.linear(*inputs), reference.linear(*positive)
        assert_close(cpu.linear(pixels, w, *ending), expected, magnitude)


@given(st.n, st.d, st.f, st.weight_dtypes, st.seeds)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(n, d, f, dtype, seed):
    x, w = st.floats(seed, 2, n, d), st.floats(seed, f, d, dtype=dtype)
    y = cpu.linear(x, w)
    for i in range(n):
        assert_same(cpu.linear(x[1:, i : i + 1], w), y[1:, i : i + 1])


many = sampled_from((48, 71, 129, 300))
"""Rows of an image that fill groups, and blocks of them."""


@given(many, st.d, st.f, st.weight_dtypes, st.seeds)
def test_a_row_has_the_same_bits_alone_and_among_many(n, d, f, dtype, seed):
    x, w = st.floats(seed, 1, n, d), st.floats(seed, f, d, dtype=dtype)
    y = cpu.linear(x, w)
    for i in (0, n // 3, n // 2, n - 1):
        assert_same(cpu.linear(x[:, i : i + 1], w), y[:, i : i + 1])


@given(st.b, many, st.d, st.f, st.weight_dtypes, st.seeds)
def test_many_rows_of_an_image_are_close_too(b, n, d, f, dtype, seed):
    x, w = st.floats(seed, b, n, d), st.floats(seed, f, d, dtype=dtype)
    bias, residual = st.floats(seed + 1, f, dtype=dtype), st.floats(seed + 2, b, n, f)
    inputs = wide(x), wide(w), wide(bias), wide(residual)
    expected = reference.linear(*inputs)
    magnitude = reference.linear(*map(abs, inputs))
    assert_close(cpu.linear(x, w, bias, residual), expected, magnitude)


@given(many, st.d, st.f, st.weight_dtypes, st.seeds)
def test_an_image_of_many_rows_has_the_same_bits_alone(n, d, f, dtype, seed):
    x, w = st.floats(seed, 3, n, d), st.floats(seed, f, d, dtype=dtype)
    y = cpu.linear(x, w)
    assert_same(cpu.linear(x[1:2], w), y[1:2])
    order = np.random.default_rng(seed).permutation(n)
    assert_same(cpu.linear(x[:, order], w), y[:, order])


def test_a_long_sum_of_many_rows_loses_no_more_than_a_short_one():
    """All products are of one sign: the worst there is for adding one after another."""
    x = np.random.default_rng(0).random((1, 48, 3072), np.float32)
    w = np.random.default_rng(1).random((40, 3072), np.float32)
    expected = reference.linear(wide(x), wide(w))
    assert_close(cpu.linear(x, w), expected, expected)


def test_two_threads_equal_one_for_many_rows(threads):
    x, w = st.floats(0, 1, 61, 300), st.floats(1, 130, 300)
    with threads(1):
        one = cpu.linear(x, w)
    with threads(2):
        assert_same(cpu.linear(x, w), one)


@given(st.b, st.n, st.d, st.f, st.seeds)
def test_permuted_rows_permute_the_result(b, n, d, f, seed):
    x, w = st.floats(seed, b, n, d), st.floats(seed, f, d)
    order = np.random.default_rng(seed).permutation(n)
    assert_same(cpu.linear(x[:, order], w), cpu.linear(x, w)[:, order])


@given(st.n, st.d, st.f, st.seeds)
def test_permuted_features_permute_the_result(n, d, f, seed):
    x, w = st.floats(seed, 1, n, d), st.floats(seed, f, d)
    order = np.random.default_rng(seed).permutation(f)
    assert_same(cpu.linear(x, w[order]), cpu.linear(x, w)[:, :, order])


@pytest.mark.parametrize("dtype", st.WEIGHT_DTYPES, ids=str)
def test_two_threads_equal_one(threads, dtype):
    x, w = st.floats(0, 2, 33, 127), st.floats(1, 130, 127, dtype=dtype)
    with threads(1):
        one = cpu.linear(x, w, w[:, 0], cpu.linear(x, w))
    with threads(2):
        assert_same(cpu.linear(x, w, w[:, 0], cpu.linear(x, w)), one)


@pytest.mark.parametrize("dtype", [np.float16, st.WEIGHT_DTYPES[2]], ids=str)
def test_every_finite_number_of_sixteen_bits_is_widened(dtype):
    bits = np.arange(2**16, dtype=np.uint16).view(dtype)
    w = bits[np.isfinite(bits.astype(np.float32))].reshape(-1, 1)
    one = np.ones((1, 1, 1), np.float32)
    assert (cpu.linear(one, w).ravel() == w.astype(np.float32).ravel()).all()


def test_many_rows():
    x, w = st.floats(0, 1, 300, 127), st.floats(1, 200, 127)
    expected = reference.linear(wide(x), wide(w))
    assert_close(
        cpu.linear(x, w), expected, reference.linear(abs(wide(x)), abs(wide(w)))
    )
