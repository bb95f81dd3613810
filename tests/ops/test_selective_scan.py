"""selective_scan: a step is a sequence of one; only the state is handed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.selective_scan import cpu, reference
from tests import strategies as st
from tests.ops.scans import in_parts, scan_case, whole
from tests.tolerance import assert_same

channels = hs.sampled_from((1, 2, 3, 8))


@pytest.mark.parametrize("module", [cpu, reference])
@given(st.b, st.n, channels, st.h, st.s, st.seeds, hs.data())
def test_steps_are_the_sequence_wherever_it_is_cut(module, b, n, c, r, s, seed, data):
    case = scan_case(seed, b, n, c, r, s)
    y, state = whole(module.selective_scan, case)
    some = data.draw(hs.lists(hs.integers(0, n), max_size=3).map(sorted))
    for cuts in (some, range(1, n)):
        parts, after = in_parts(module.selective_scan, case, cuts)
        assert_same(parts, y)
        assert_same(after, state)


@given(channels, st.s, st.seeds)
def test_a_step_of_zero_leaves_the_state_as_it_is(c, s, seed):
    case = scan_case(seed, 2, 4, c, 1, s)
    case[1][:, 1:3] = 0
    _, state = whole(cpu.selective_scan, case)
    kept = [
        each[:, [0, 3]] if i in (0, 1, 3, 4) else each for i, each in enumerate(case)
    ]
    # a zero may have lost its sign
    assert_same(whole(cpu.selective_scan, kept)[1] + 0, state + 0)
