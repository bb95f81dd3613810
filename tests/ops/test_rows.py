"""Gather and scatter: each undoes the other, and nothing else moves."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as hs

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
