"""selective_scan: a step is a sequence of one; only the state is handed on."""

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.checking.specs.states import scan_magnitude
from minigen.ops.selective_scan import cpu, reference
from tests import strategies as st
from tests.ops.scans import in_parts, of_images, scan_case, whole, wide
from tests.tolerance import assert_close, assert_same

channels = hs.sampled_from((1, 2, 3, 8))


@given(st.b, st.n, channels, st.h, st.s, st.seeds)
def test_close_to_the_reference(b, n, c, r, s, seed):
    case = scan_case(seed, b, n, c, r, s)
    y, state = whole(cpu.selective_scan, case)
    expected, after = whole(reference.selective_scan, wide(case))
    y_magnitude, state_magnitude = scan_magnitude(*case)
    assert_close(y, expected, y_magnitude)
    assert_close(state, after, state_magnitude)


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


@given(st.n, channels, st.s, st.seeds)
def test_images_in_another_order_give_the_same_bits(n, c, s, seed):
    case, order = scan_case(seed, 3, n, c, 2, s), [2, 0, 1]
    y, state = whole(cpu.selective_scan, case)
    again = whole(cpu.selective_scan, of_images(case, order))
    assert_same(again[0], y[order])
    assert_same(again[1], state[order])


def test_two_threads_give_the_bits_of_one(threads):
    case, results = scan_case(0, 3, 33, 8, 3, 16), []
    for count in (1, 2):
        with threads(count):
            results.append(whole(cpu.selective_scan, case))
    for one, two in zip(*results, strict=True):
        assert_same(one, two)


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
