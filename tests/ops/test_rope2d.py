"""rope2d: rotations keep lengths, row 0 erases, and grids need not be square."""

import numpy as np
from hypothesis import given

from minigen.ops.rope2d import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same


@given(st.n, st.h, st.e, st.seeds)
def test_permuted_tokens_permute_the_result(n, h, e, seed):
    table, rows = reference.table(3, 4, e, 100.0), st.integers(seed, 13, 2, n)
    values = st.floats(seed, 2, n, h, e)
    order = np.random.default_rng(seed).permutation(n)
    y = cpu.rope2d(values, table, rows)
    assert_same(cpu.rope2d(values[:, order], table, rows[:, order]), y[:, order])
    assert_same(cpu.rope2d(values[1:], table, rows[1:]), y[1:])


@given(st.y, st.x, st.e)
def test_the_table_holds_rotations_and_a_class_row_of_zeros(y, x, e):
    table = reference.table(y, x, e, 10000.0)
    assert table.shape == (1 + y * x, e // 2, 2) and table.dtype == np.float32
    assert not table[0].any()
    lengths = (table[1:].astype(np.float64) ** 2).sum(-1)
    assert_close(lengths.astype(np.float32), 1.0 + 0 * lengths, 1.0)
    # the first half of the pairs knows the row, the second the column
    grid = table[1:].reshape(y, x, e // 2, 2)
    assert (grid[:, :1, : e // 4] == grid[:, :, : e // 4]).all()
    assert (grid[:1, :, e // 4 :] == grid[:, :, e // 4 :]).all()
    assert (grid[0, :, : e // 4] == (1, 0)).all()


def test_a_grid_inside_of_a_larger_one_has_the_same_rows():
    small, large = reference.table(3, 5, 8, 100.0), reference.table(7, 7, 8, 100.0)
    inside = large[1:].reshape(7, 7, 4, 2)[:3, :5].reshape(15, 4, 2)
    assert_same(small[1:], inside)
