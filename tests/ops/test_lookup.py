"""lookup: unit rows, distances, and which code is the nearest."""

import numpy as np
from hypothesis import given

from minigen.ops.lookup import cpu, reference
from minigen.ops.lookup.spec import distances_magnitude
from tests import strategies as st
from tests.tolerance import EPS, FACTOR, assert_close, assert_same


@given(st.n, st.c, st.weight_dtypes, st.seeds)
def test_rows_get_length_one(n, c, dtype, seed):
    rows = st.floats(seed, n, c, dtype=dtype)
    out = cpu.unit(rows)
    expected = reference.unit(rows.astype(np.float64))
    assert out.dtype == np.float32
    assert_close(out, expected, abs(expected))
    length = np.sqrt((out.astype(np.float64) ** 2).sum(-1))
    assert_close(length, 1.0 * rows.any(-1), np.ones(n))


@given(st.n, st.k, st.c, st.weight_dtypes, st.seeds)
def test_distances(n, k, c, dtype, seed):
    z, codes = st.floats(seed, n, c), st.floats(seed + 1, k, c, dtype=dtype)
    inputs = z.astype(np.float64), codes.astype(np.float64)
    expected = reference.distances(*inputs)
    assert_close(
        expected,
        ((inputs[0][:, None] - inputs[1]) ** 2).sum(-1),
        distances_magnitude(*inputs),
    )
    assert_close(cpu.distances(z, codes), expected, distances_magnitude(*inputs))


@given(st.n, st.k, st.c, st.weight_dtypes, st.seeds)
def test_no_code_is_nearer_than_the_one_found(n, k, c, dtype, seed):
    z, codes = st.floats(seed, n, c), st.floats(seed + 1, k, c, dtype=dtype)
    found = cpu.lookup(z, codes)
    assert found.dtype == np.int64
    inputs = z.astype(np.float64), codes.astype(np.float64)
    exact, size = reference.distances(*inputs), distances_magnitude(*inputs)
    # rounding may decide between two codes only if they are as far, up to rounding
    spare = 2 * FACTOR * EPS * size.max(-1)
    assert (exact[np.arange(n), found] <= exact.min(-1) + spare).all()


@given(st.n, st.k, st.c, st.seeds)
def test_ties_go_to_the_lowest_index(n, k, c, seed):
    # integers have exact distances, and few of them many ties
    z = st.integers(seed, 3, n, c).astype(np.float32)
    codes = st.integers(seed + 1, 3, k, c).astype(np.float32)
    exact = ((z[:, None] - codes) ** 2).sum(-1)
    assert_same(cpu.lookup(z, codes), exact.argmin(-1))
    assert_same(reference.lookup(z, codes), exact.argmin(-1))


@given(st.n, st.k, st.c, st.seeds)
def test_repeated_codes_are_never_found_again(n, k, c, seed):
    z, codes = st.floats(seed, n, c), st.floats(seed + 1, k, c)
    assert_same(cpu.lookup(z, np.concatenate([codes, codes])), cpu.lookup(z, codes))


def test_a_vector_has_the_same_code_in_any_batch():
    z, codes = st.floats(0, 50, 8), st.floats(1, 1000, 8)
    together = cpu.lookup(z, codes)
    alone = [cpu.lookup(z[i : i + 1], codes)[0] for i in range(50)]
    assert together.tolist() == alone
