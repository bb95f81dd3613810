"""ssd: step by step, as a sequence and in chunks of any size, it is the same map."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.selective_scan import reference as selective_scan
from minigen.ops.ssd import cpu, reference
from minigen.ops.ssd.spec import ssd_magnitude
from tests import strategies as st
from tests.ops.scans import in_parts, ssd_case, whole, wide
from tests.tolerance import assert_close, assert_same

chunks = hs.sampled_from((1, 2, 3, 4, 8, 16, 31, 32, 64))
groups = hs.integers(1, 2)


def test_it_is_the_selective_scan_with_one_rate_a_head():
    case = wide(ssd_case(0, 2, 9, 2, 3, 4, 5))
    x, delta, A_log, B, C, D, state = case
    y, after = whole(reference.ssd, case)
    flat = x.reshape(2, 9, 24), delta.repeat(4, axis=2)
    rates = A_log.repeat(4)[:, None].repeat(5, axis=1)
    flat = [*flat, rates, B, C, D.repeat(4), state.reshape(2, 24, 5)]
    expected, expected_after = whole(selective_scan.selective_scan, flat)
    assert np.allclose(y.reshape(2, 9, 24), expected, rtol=1e-12, atol=1e-12)
    assert np.allclose(after.reshape(2, 24, 5), expected_after, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("module", [cpu, reference])
@given(st.b, st.n, groups, st.h, st.p, st.s, chunks, st.seeds)
def test_chunks_of_any_size_are_the_recurrence(module, b, n, r, h, p, s, chunk, seed):
    case = ssd_case(seed, b, n, r, h, p, s)
    y, state = whole(module.ssd_chunked, case, chunk)
    expected, after = whole(reference.ssd, wide(case))
    y_magnitude, state_magnitude = ssd_magnitude(*case)
    assert_close(y, expected, y_magnitude)
    assert_close(state, after, state_magnitude)


@pytest.mark.parametrize("module", [cpu, reference])
@given(st.b, st.n, groups, st.h, st.p, st.s, st.seeds, hs.data())
def test_steps_are_the_sequence_wherever_it_is_cut(
    module, b, n, r, h, p, s, seed, data
):
    case = ssd_case(seed, b, n, r, h, p, s)
    y, state = whole(module.ssd, case)
    some = data.draw(hs.lists(hs.integers(0, n), max_size=3).map(sorted))
    for cuts in (some, range(1, n)):
        parts, after = in_parts(module.ssd, case, cuts)
        assert_same(parts, y)
        assert_same(after, state)


@pytest.mark.parametrize("module", [cpu, reference])
@given(st.n, groups, st.p, st.s, chunks, st.seeds, hs.data())
def test_chunks_hand_the_state_over_at_any_cut(module, n, r, p, s, chunk, seed, data):
    case = ssd_case(seed, 1, n, r, 2, p, s)
    cuts = data.draw(hs.lists(hs.integers(0, n), max_size=3).map(sorted))
    y, state = in_parts(module.ssd_chunked, case, cuts, chunk)
    expected, after = whole(reference.ssd, wide(case))
    y_magnitude, state_magnitude = ssd_magnitude(*case)
    assert_close(y, expected, y_magnitude)
    assert_close(state, after, state_magnitude)


@given(st.n, st.p, st.s, chunks, st.seeds)
def test_a_cut_between_chunks_changes_no_bit(n, p, s, chunk, seed):
    case = ssd_case(seed, 2, n, 1, 2, p, s)
    y, state = whole(cpu.ssd_chunked, case, chunk)
    parts, after = in_parts(cpu.ssd_chunked, case, range(chunk, n, chunk), chunk)
    assert_same(parts, y)
    assert_same(after, state)


@pytest.mark.parametrize("module", [cpu, reference])
@pytest.mark.parametrize("name, rest", [("ssd", ()), ("ssd_chunked", (4,))])
@given(hs.integers(1, 9), hs.integers(1, 7), st.seeds)
def test_padded_steps_are_inert(module, name, rest, n, padding, seed):
    # padding is a step size of zero; what x, B and C hold there does not matter
    case, function = ssd_case(seed, 2, n + padding, 1, 2, 3, 8), getattr(module, name)
    case[1][:, n:] = 0
    alone = [each[:, :n] if i in (0, 1, 3, 4) else each for i, each in enumerate(case)]
    y, state = whole(function, case, *rest)
    expected, after = whole(function, alone, *rest)
    y_magnitude, state_magnitude = ssd_magnitude(*alone)
    assert_close(y[:, :n], expected, y_magnitude)
    assert_close(state, after, state_magnitude)


def test_what_is_ahead_of_a_token_never_overflows_into_it():
    # e^600 is far above every float32: in the future it must be masked, not multiplied
    case = ssd_case(0, 1, 8, 1, 1, 2, 3)
    case[1][...] = 100.0
    case[2][...] = np.log(6.0)
    for module in (cpu, reference):
        y, state = whole(module.ssd_chunked, case, 8)
        expected, after = whole(reference.ssd, wide(case))
        y_magnitude, state_magnitude = ssd_magnitude(*case)
        assert_close(y, expected, y_magnitude)
        assert_close(state, after, state_magnitude)


@given(st.b, st.p, st.s)
def test_the_state_does_not_grow(b, p, s):
    sizes = set()
    for n in (1, 7, 33):
        case = ssd_case(0, b, n, 1, 2, p, s)
        sizes.add(whole(cpu.ssd, case)[1].shape)
    assert sizes == {(b, 2, p, s)}
