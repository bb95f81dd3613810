"""attention: against the reference, and against itself with and without a cache."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import sampled_from

from minigen.ops.attention import cpu, cpu_plain, reference
from minigen.ops.attention.spec import attention_magnitude, causal_magnitude
from minigen.ops.rows import cpu as rows
from tests import strategies as st
from tests.tolerance import assert_close, assert_same


def inputs(seed, b, m, n, h, e):
    q, k, v = (st.floats(seed + i, b, s, h, e) for i, s in enumerate((m, n, n)))
    return q, k, v


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


many = sampled_from((48, 49, 64, 71))
"""Queries of an image for which keys are laid side by side."""


@given(st.b, many, st.n, sampled_from((4, 6)), st.e, st.seeds)
def test_many_queries_are_close_too(b, m, n, h, e, seed):
    q, k, v = inputs(seed, b, m, n, h, e)
    r, length = (h // 2, h)[seed % 2], 1 + seed % n
    k, v = (np.ascontiguousarray(each[:, :, :r]) for each in (k, v))
    k[:, length:] = v[:, length:] = np.nan
    given_wide = *wide(q, k[:, :length], v[:, :length]), length
    y = cpu.attention(q, k, v, length)
    magnitude = attention_magnitude(*given_wide)
    assert_close(y, reference.attention(*given_wide), magnitude)
    # an image alone, and its queries in another order: the same bits
    assert_same(cpu.attention(q[-1:], k[-1:], v[-1:], length), y[-1:])
    order = np.random.default_rng(seed).permutation(m)
    assert_same(cpu.attention(q[:, order], k, v, length), y[:, order])


def test_many_keys_for_many_queries(threads):
    """The weights of 700 keys, all alike, are added up without loss; on two threads."""
    q, k, v = inputs(0, 2, 50, 700, 5, 24)
    q *= 0.01
    given_wide = *wide(q, k, v), 700
    with threads(1):
        one = cpu.attention(q, k, v, 700)
    magnitude = attention_magnitude(*given_wide)
    assert_close(one, reference.attention(*given_wide), magnitude)
    with threads(2):
        assert_same(cpu.attention(q, k, v, 700), one)


@given(st.b, st.m, st.n, st.h, st.e, st.seeds)
def test_shared_heads_are_heads_repeated(b, m, n, r, e, seed):
    """Heads 3 i to 3 i + 2 of six (or of three) share head i: the same bits."""
    h, length = 3 * r, 1 + seed % n
    q = st.floats(seed, b, m, h, e)
    k, v = st.floats(seed + 1, b, n, r, e), st.floats(seed + 2, b, n, r, e)
    repeated = np.repeat(k, 3, axis=2), np.repeat(v, 3, axis=2)
    for file in (cpu, reference):
        y = file.attention(q, k, v, length)
        assert_same(y, file.attention(q, *repeated, length))
        if m <= length:
            y = file.attention_causal(q, k, v, length)
            assert_same(y, file.attention_causal(q, *repeated, length))


FILES = pytest.mark.parametrize("file", [cpu, cpu_plain, reference])


@FILES
@given(st.b, st.n, st.h, st.e, sampled_from((0, 1, 5, 40, 127)), st.seeds)
def test_one_causal_call_equals_a_call_for_each_token(file, b, m, h, e, before, seed):
    """m tokens after others in a cache: on numba the same bits."""
    length = before + m
    q, k, v = inputs(seed, b, m, length, h, e)
    keys, values = (np.full((b, length + 3, h, e), np.nan, np.float32) for _ in "kv")
    keys, values = (rows.append(*pair, 0) for pair in ((keys, k), (values, v)))
    y = file.attention_causal(q, keys, values, length)
    each = [
        file.attention(q[:, t : t + 1], keys, values, before + t + 1) for t in range(m)
    ]
    each = np.concatenate(each, axis=1)
    if file is not reference:
        assert_same(y, each)
    exact = reference.attention_causal(*wide(q, k, v), length)
    for found in (y, each):
        assert_close(found, exact, causal_magnitude(*wide(q, k, v), length))


@pytest.mark.parametrize("m", [31, 32, 33, 47, 48, 49, 64, 71])
def test_causal_queries_have_the_bits_of_one_however_many_they_are(m, threads):
    length = m + 9
    q, k, v = inputs(m, 2, m, length, 2, 24)
    with threads(1):
        y = cpu.attention_causal(q, k, v, length)
    with threads(2):
        assert_same(cpu.attention_causal(q, k, v, length), y)
    for t in (0, 1, m // 2, m - 1):
        one = cpu.attention(q[:, t : t + 1], k, v, length - m + t + 1)
        assert_same(one, y[:, t : t + 1])


@given(st.m, st.n, st.h, st.e, st.seeds)
def test_a_query_has_the_same_bits_in_any_batch(m, n, h, e, seed):
    q, k, v = inputs(seed, 2, m, n, h, e)
    y = cpu.attention(q, k, v, n)
    order = np.random.default_rng(seed).permutation(m)
    assert_same(cpu.attention(q[:, order], k, v, n), y[:, order])
    for i in range(m):
        one = cpu.attention(q[1:, i : i + 1], k[1:], v[1:], n)
        assert_same(one, y[1:, i : i + 1])


@given(st.n, st.h, st.e, st.seeds)
def test_causal_rows_do_not_see_what_follows(n, h, e, seed):
    q, k, v = inputs(seed, 2, n, n, h, e)
    y = cpu.attention_causal(q, k, v, n)
    half = (n + 1) // 2
    k[:, half:] = v[:, half:] = 7.0
    assert_same(cpu.attention_causal(q, k, v, n)[:, :half], y[:, :half])
    assert_same(cpu.attention_causal(q[1:], k[1:], v[1:], n)[:, :half], y[1:, :half])


def test_two_threads_equal_one(threads):
    q, k, v = inputs(0, 2, 33, 65, 3, 64)
    with threads(1):
        one = cpu.attention(q, k, v, 65)
    with threads(2):
        assert_same(cpu.attention(q, k, v, 65), one)


def test_one_key_returns_its_value_and_zero_keys_the_mean():
    q, k, v = inputs(0, 1, 5, 4, 2, 64)
    assert (cpu.attention(q, k, v, 1) == v[:, :1]).all()
    mean = v.astype(np.float64).mean(axis=1, keepdims=True)
    size = abs(v.astype(np.float64)).mean(axis=1, keepdims=True)
    y = cpu.attention(q, np.zeros_like(k), v, 4)
    assert_close(y, np.broadcast_to(mean, y.shape), np.broadcast_to(size, y.shape))


def test_scores_that_overflow_without_care():
    q, k, v = inputs(0, 1, 3, 9, 1, 32)
    q *= np.float32(1000)
    given_wide = *wide(q, k, v), 9
    assert_close(
        cpu.attention(q, k, v, 9),
        reference.attention(*given_wide),
        attention_magnitude(*given_wide),
    )


def test_one_wide_head_as_in_the_tokenizer():
    arrays = inputs(0, 1, 64, 64, 1, 512)
    given_wide = *wide(*arrays), 64
    assert_close(
        cpu.attention(*arrays, 64),
        reference.attention(*given_wide),
        attention_magnitude(*given_wide),
    )
