"""Gather and scatter: each undoes the other, and nothing else moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.errors import InputError, ShapeError
from minigen.ops.rows import cpu, reference
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


def test_rows_that_are_not_there_are_refused():
    x = np.ones((1, 3, 2), np.float32)
    for rows in (np.array([[3]]), np.array([[-1]])):
        with pytest.raises(InputError, match="the sequence has 3"):
            cpu.gather(x, rows)
        with pytest.raises(InputError, match="the sequence has 3"):
            cpu.scatter(x, x[:, :1], rows)
    with pytest.raises(ShapeError, match="new has shape"):
        cpu.scatter(x, x, np.array([[0]]))
    with pytest.raises(ShapeError, match="rows has shape"):
        cpu.gather(x, np.array([[0], [1]]))
