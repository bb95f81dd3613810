"""embed: a gather, exact for every weight dtype."""

import numpy as np
from hypothesis import given

from minigen.ops.embed import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_same


@given(st.b, st.n, st.t, st.d, st.weight_dtypes, st.seeds)
def test_equals_the_reference(b, n, t, d, dtype, seed):
    table, ids = st.floats(seed, t, d, dtype=dtype), st.integers(seed, t, b, n)
    y = cpu.embed(table, ids)
    assert_same(y, reference.embed(table, ids))
    assert y.dtype == np.float32
    assert_same(y[0, 0], table[ids[0, 0]].astype(np.float32))
