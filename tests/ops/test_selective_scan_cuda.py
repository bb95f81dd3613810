"""selective_scan on a GPU, interpreted and watched: any cut, any batch, any order."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as hs

from minigen.ops.selective_scan import cuda, reference
from minigen.ops.selective_scan.spec import scan_magnitude
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.ops.scans import in_parts, of_images, on_device, scan_case, whole, wide
from tests.tolerance import assert_close, assert_same

choose = hs.sampled_from
n = choose((1, 2, 3, 5))
c, s, r = choose((1, 2, 3)), choose((1, 2, 3)), choose((1, 2))
schedules = hs.integers(0, 99)


def assert_right(results, case):
    """Assert that y and the state are those of the reference."""
    expected = whole(reference.selective_scan, wide(case))
    for each in zip(results, expected, scan_magnitude(*case), strict=True):
        assert_close(*each)


@example(b=1, n=130, c=1, r=1, s=2, seed=0, schedule=1)
@example(b=1, n=2, c=9, r=2, s=9, seed=0, schedule=2)
@example(b=2, n=1, c=33, r=1, s=16, seed=0, schedule=3)
@given(choose((1, 2)), n, c, r, s, st.seeds, schedules)
def test_close_to_the_reference(b, n, c, r, s, seed, schedule):
    case = scan_case(seed, b, n, c, r, s)
    assert_right(whole(on_device(cuda.selective_scan, schedule), case), case)


@given(choose((1, 2)), n, c, r, s, st.seeds, schedules)
def test_the_naive_kernel(b, n, c, r, s, seed, schedule):
    case = scan_case(seed, b, n, c, r, s)
    assert_right(whole(on_device(cuda.selective_scan_naive, schedule), case), case)


@given(choose((2, 3, 5)), choose((1, 2)), choose((1, 3)), st.seeds, hs.data())
def test_the_state_is_handed_over_at_any_cut(n, c, s, seed, data):
    case = scan_case(seed, 1, n, c, 1, s)
    some = data.draw(hs.lists(hs.integers(0, n), max_size=2).map(sorted))
    for cuts in (some, range(1, n)):
        assert_right(in_parts(on_device(cuda.selective_scan), case, cuts), case)


@given(choose((1, 2, 3)), choose((1, 2)), st.seeds)
def test_images_in_another_order_give_the_same_bits(n, c, seed):
    case, order = scan_case(seed, 3, n, c, 1, 2), [2, 0, 1]
    y, state = whole(on_device(cuda.selective_scan), case)
    again = whole(on_device(cuda.selective_scan, 1), of_images(case, order))
    assert_same(again[0], y[order])
    assert_same(again[1], state[order])
    alone = whole(on_device(cuda.selective_scan), of_images(case, [1]))
    assert_same(alone[0], y[1:2])


@pytest.mark.parametrize("n", [64, 65, 256, 258])
def test_tokens_on_both_sides_of_a_warp_and_of_a_block(n):
    case = scan_case(n, 1, n, 1, 1, 1)
    # what the first token leaves is never forgotten
    case[1][:, 1:] *= np.float32(0.01)
    assert_right(whole(on_device(cuda.selective_scan), case), case)


@given(choose((3, 4)), st.seeds)
def test_a_step_of_zero_leaves_the_state_as_it_is(n, seed):
    case = scan_case(seed, 1, n, 2, 1, 2)
    case[1][:, 1:] = 0
    first = [a[:, :1] if i in (0, 1, 3, 4) else a for i, a in enumerate(case)]
    _, state = whole(on_device(cuda.selective_scan), case)
    _, expected = whole(reference.selective_scan, wide(first))
    assert_close(state, expected, scan_magnitude(*first)[1])


def test_weights_of_two_bytes_are_widened():
    case = scan_case(0, 1, 3, 2, 1, 2)
    for i in (2, 5):
        case[i] = case[i].astype(np.float16)
    for launcher in (cuda.selective_scan, cuda.selective_scan_naive):
        assert_right(whole(on_device(launcher), case), case)


def test_no_tokens_leave_everything_as_it_is():
    case = scan_case(0, 2, 0, 3, 1, 2)
    y, state = whole(on_device(cuda.selective_scan), case)
    assert y.shape == (2, 0, 3)
    assert_same(state, case[-1])


def test_a_single_token_has_a_kernel_of_its_own():
    device = Recorder()
    for n in (1, 2):
        cuda.selective_scan(device, *map(device.put, scan_case(0, 1, n, 1, 1, 1)))
    names = [launch.name.rpartition(".")[2] for launch in device.launches]
    assert names == ["_selective_scan_step", "_selective_scan"]
