"""upsample: every output is the input at half its row and half its column."""

import numpy as np
from hypothesis import given

from minigen.ops.upsample import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_same


@given(st.b, st.y, st.x, st.c, st.seeds)
def test_each_position_becomes_four(b, y, x, c, seed):
    images = st.floats(seed, b, y, x, c)
    rows, columns = np.arange(2 * y) // 2, np.arange(2 * x) // 2
    expected = images[:, rows][:, :, columns]
    assert_same(cpu.upsample(images), expected)
    assert_same(reference.upsample(images), expected)
    assert cpu.upsample(images).flags.c_contiguous
