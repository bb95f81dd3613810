"""Rows of a sequence: gather and scatter undo each other, and nothing else moves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as hs

from minigen import arrays
from minigen.ops.rows import cpu, cuda, reference
from tests import strategies as st
from tests.tolerance import assert_same


@given(st.b, hs.integers(1, 9), st.d, st.seeds, hs.data())
def test_rows(b, n, d, seed, data):
    x = st.floats(seed, b, n, d)
    m = data.draw(hs.integers(1, n))
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.permutation(n)[:m] for _ in range(b)])
    taken = cpu.gather(x, rows)
    assert_same(taken, reference.gather(x, rows))
    assert_same(taken[0, 0], x[0, rows[0, 0]])
    zeros, more = np.zeros_like(x), np.zeros_like(x)
    written = cpu.scatter(zeros, taken, rows)
    assert written is zeros
    assert_same(written, reference.scatter(more, taken, rows))
    assert_same(cpu.gather(written, rows), taken)
    rest = np.ones((b, n), bool)
    np.put_along_axis(rest, rows, False, axis=1)
    assert not written[rest].any()
    assert_same(cpu.scatter(x.copy(), taken, rows), x)


def test_append_writes_in_place_whatever_a_row_is():
    device = arrays.Interpreter(watch=True)
    for row in ((2,), (3, 2)):
        new, expected = np.ones((2, 2, *row), np.float32), np.zeros((2, 4, *row))
        expected[:, 1:3] = 1
        cache = np.zeros((2, 4, *row), np.float32)
        assert cpu.append(cache, new, 1) is cache
        assert_same(cache, expected.astype(np.float32))
        cache = device.put(np.zeros((2, 4, *row), np.float32))
        assert cuda.append(device, cache, device.put(new), 1) is cache
        assert_same(device.get(cache), expected.astype(np.float32))


@given(st.b, hs.integers(0, 3), hs.integers(0, 3), st.d, st.weight_dtypes, st.seeds)
def test_concat(b, n, m, d, dtype, seed):
    x, y = st.floats(seed, b, n, d, dtype=dtype), st.floats(seed, b, m, d, dtype=dtype)
    whole = cpu.concat(x, y)
    assert_same(whole, reference.concat(x, y))
    assert_same(whole[:, :n], x.astype(np.float32))
    assert_same(whole[:, n:], y.astype(np.float32))
    on_a_gpu(cuda.concat, whole, x, y)


@given(st.b, hs.integers(0, 3), st.d, st.weight_dtypes, st.seeds)
def test_repeat(b, n, d, dtype, seed):
    x = st.floats(seed, b, d, dtype=dtype)
    expected = np.stack([x.astype(np.float32)] * n, 1) if n else np.empty((b, 0, d))
    expected = expected.astype(np.float32)
    assert_same(reference.repeat(x, n), expected)
    assert_same(cpu.repeat(x, n), expected)
    on_a_gpu(cuda.repeat, expected, x, n)


def on_a_gpu(launcher, expected, *arguments):
    """Assert what a launcher makes of host arrays, interpreted."""
    device = arrays.Interpreter(watch=True)
    moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in arguments]
    assert_same(device.get(launcher(device, *moved)), expected)
