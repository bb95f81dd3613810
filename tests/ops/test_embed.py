"""embed: a gather, exact for every weight dtype."""

import numpy as np
import pytest
from hypothesis import given

from minigen.errors import InputError
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


@pytest.mark.parametrize("bad", [-1, 5])
def test_an_id_outside_of_the_table_is_refused(bad):
    with pytest.raises(InputError, match="table has 5"):
        cpu.embed(np.ones((5, 2), np.float32), np.array([[0, bad]]))
