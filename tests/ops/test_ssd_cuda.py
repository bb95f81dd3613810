"""ssd on a GPU, interpreted and watched: token by token, and in chunks."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as hs

from minigen.ops.ssd import cuda, reference
from minigen.ops.ssd.spec import ssd_magnitude
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.ops.scans import in_parts, of_images, on_device, ssd_case, whole, wide
from tests.tolerance import assert_close, assert_same

choose = hs.sampled_from
n = choose((1, 2, 3, 5))
h, r, p, s = choose((1, 2)), choose((1, 2)), choose((1, 2, 3)), choose((1, 2, 3))
chunks = choose((1, 2, 3, 64))
schedules = hs.integers(0, 99)


def assert_right(results, case):
    """Assert that y and the state are those of the recurrence."""
    expected = whole(reference.ssd, wide(case))
    for each in zip(results, expected, ssd_magnitude(*case), strict=True):
        assert_close(*each)


@example(n=2, r=2, h=1, p=9, s=9, seed=0, schedule=1)
@example(n=3, r=1, h=2, p=9, s=33, seed=0, schedule=2)
@given(n, r, h, p, s, st.seeds, schedules)
def test_close_to_the_reference(n, r, h, p, s, seed, schedule):
    case = ssd_case(seed, 1, n, r, h, p, s)
    assert_right(whole(on_device(cuda.ssd, schedule), case), case)


@given(n, r, h, p, s, st.seeds, schedules)
def test_the_naive_kernel(n, r, h, p, s, seed, schedule):
    case = ssd_case(seed, 2, n, r, h, p, s)
    assert_right(whole(on_device(cuda.ssd_naive, schedule), case), case)


@example(n=67, r=1, h=1, p=2, s=3, chunk=66, seed=0, schedule=1)
@example(n=40, r=1, h=1, p=1, s=18, chunk=20, seed=0, schedule=2)
@given(n, r, h, p, s, chunks, st.seeds, schedules)
def test_chunks_of_any_size_are_the_recurrence(n, r, h, p, s, chunk, seed, schedule):
    case = ssd_case(seed, 1, n, r, h, p, s)
    run = on_device(cuda.ssd_chunked, schedule)
    assert_right(whole(run, case, chunk), case)


@pytest.mark.parametrize("name, rest", [("ssd", ()), ("ssd_chunked", (2,))])
@given(choose((2, 3, 5)), choose((1, 2)), choose((1, 3)), st.seeds, hs.data())
def test_the_state_is_handed_over_at_any_cut(name, rest, n, p, s, seed, data):
    case = ssd_case(seed, 1, n, 1, 1, p, s)
    some = data.draw(hs.lists(hs.integers(0, n), max_size=2).map(sorted))
    for cuts in (some, range(1, n)):
        assert_right(in_parts(on_device(getattr(cuda, name)), case, cuts, *rest), case)


@pytest.mark.parametrize("name, rest", [("ssd", ()), ("ssd_chunked", (2,))])
@given(choose((1, 3)), choose((1, 2)), st.seeds)
def test_images_in_another_order_give_the_same_bits(name, rest, n, p, seed):
    case, order = ssd_case(seed, 3, n, 1, 1, p, 2), [2, 0, 1]
    run = on_device(getattr(cuda, name), seed % 100)
    y, state = whole(run, case, *rest)
    again = whole(run, of_images(case, order), *rest)
    assert_same(again[0], y[order])
    assert_same(again[1], state[order])
    assert_same(whole(run, of_images(case, [1]), *rest)[0], y[1:2])


@given(choose((2, 5)), choose((2, 3)), st.seeds)
def test_a_cut_between_chunks_changes_no_bit(n, chunk, seed):
    case, run = ssd_case(seed, 1, n, 1, 2, 2, 3), on_device(cuda.ssd_chunked)
    y, state = whole(run, case, chunk)
    parts, after = in_parts(run, case, range(chunk, n, chunk), chunk)
    assert_same(parts, y)
    assert_same(after, state)


@pytest.mark.parametrize("name, rest", [("ssd", ()), ("ssd_chunked", (4,))])
@given(choose((1, 3)), choose((1, 4)), st.seeds)
def test_padded_steps_are_inert(name, rest, n, padding, seed):
    # padding is a step size of zero; what x, B and C hold there does not matter
    case = ssd_case(seed, 1, n + padding, 1, 1, 2, 3)
    case[1][:, n:] = 0
    alone = [each[:, :n] if i in (0, 1, 3, 4) else each for i, each in enumerate(case)]
    y, state = whole(on_device(getattr(cuda, name)), case, *rest)
    assert_right((y[:, :n], state), alone)


def test_what_is_ahead_of_a_token_never_overflows_into_it():
    # e^600 is far above every float32: in the future it must be masked, not multiplied
    case = ssd_case(0, 1, 8, 1, 1, 2, 3)
    case[1][...] = 100.0
    case[2][...] = np.log(6.0)
    assert_right(whole(on_device(cuda.ssd), case), case)
    assert_right(whole(on_device(cuda.ssd_chunked), case, 8), case)


def test_weights_of_two_bytes_are_widened():
    case = ssd_case(0, 1, 3, 1, 2, 2, 2)
    for i in (2, 5):
        case[i] = case[i].astype(np.float16)
    for launcher, rest in ((cuda.ssd, ()), (cuda.ssd_chunked, (2,))):
        assert_right(whole(on_device(launcher), case, *rest), case)


def test_no_tokens_leave_everything_as_it_is():
    case = ssd_case(0, 2, 0, 1, 2, 3, 2)
    for launcher, rest in ((cuda.ssd, ()), (cuda.ssd_chunked, (2,))):
        y, state = whole(on_device(launcher), case, *rest)
        assert y.shape == (2, 0, 2, 3)
        assert_same(state, case[-1])


def test_which_kernels_are_launched():
    device = Recorder(interpret=False)
    cuda.ssd(device, *map(device.put, ssd_case(0, 1, 2, 1, 1, 1, 1)))
    cuda.ssd_chunked(device, *map(device.put, ssd_case(0, 1, 3, 1, 1, 1, 1)), 2)
    names = [launch.name.rpartition(".")[2] for launch in device.launches]
    chunked = [
        f"_ssd_chunked_{what}" for what in ("scores", "left", "states", "outputs")
    ]
    assert names == ["_ssd", *chunked]
