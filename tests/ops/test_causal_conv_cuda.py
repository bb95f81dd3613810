"""causal_conv on a GPU, interpreted and watched: the state moves when all have read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen import backends
from minigen.checking.specs import SPECS, worst
from minigen.errors import ShapeError
from minigen.ops.causal_conv import cuda
from tests import strategies as st
from tests.hosting import hosted
from tests.kernels.collect import Recorder
from tests.ops.test_causal_conv import NAMES, case, in_parts, whole
from tests.tolerance import FACTOR, assert_same

n = hs.sampled_from((1, 2, 3, 5, 9, 17))
c = hs.sampled_from((1, 3, 33))
w = hs.sampled_from((1, 2, 4, 9))
schedules = hs.integers(0, 99)


def on_device(name, schedule=0):
    """Return a launcher that takes host arrays, and writes the state of the host."""

    def run(x, weight, bias, state):
        device = Recorder(seed=schedule)
        moved = [*map(device.put, (x, weight, bias, state))]
        y, after = getattr(cuda, name)(device, *moved)
        assert after is moved[-1]
        for launch in device.launches:
            assert launch.findings() == [], launch.name
        state[...] = device.get(after)
        return device.get(y), state

    return run


@pytest.mark.parametrize("name", NAMES)
@given(n, c, w, st.seeds, schedules)
def test_close_to_the_reference(name, n, c, w, seed, schedule):
    given = case(seed, 2, n, c, w)
    result = whole(on_device(name, schedule), *given)
    arguments = dict(zip(("x", "w", "bias", "state"), given, strict=True))
    assert worst(SPECS[name], arguments, result) <= FACTOR


@given(n, c, w, st.seeds, schedules, hs.data())
def test_steps_are_the_sequence_wherever_it_is_cut(n, c, w, seed, schedule, data):
    given, function = case(seed, 1, n, c, w), on_device("causal_conv_silu", schedule)
    y, state = whole(function, *given)
    some = data.draw(hs.lists(hs.integers(0, n), max_size=3).map(sorted))
    for cuts in (some, range(1, n)):
        parts, after = in_parts(function, *given, cuts)
        assert_same(parts, y)
        assert_same(after, state)


def test_no_tokens_leave_the_state_as_it_was():
    x, *rest = case(0, 2, 3, 5, 4)
    y, state = whole(on_device("causal_conv"), x[:, :0], *rest)
    assert y.shape == (2, 0, 5)
    assert_same(state, rest[-1])


def test_a_table_on_host_arrays_writes_the_state_that_it_was_given():
    ops = hosted(backends.table("interpreter"))
    x, weight, bias, state = case(0, 2, 3, 5, 4)
    expected = whole(on_device("causal_conv"), x, weight, bias, state)
    wide = np.zeros((2, 4, 10), np.float32)
    view = wide[..., ::2]
    view[...] = state
    y, after = ops.causal_conv(x, weight, bias, state=view)
    assert after is view
    assert_same(y, expected[0])
    assert_same(np.ascontiguousarray(view), expected[1])
    assert not wide[..., 1::2].any()


def test_a_window_that_does_not_fit_is_refused():
    device = Recorder()
    x, weight, bias, state = map(device.put, case(0, 1, 2, 3, 4))
    long = [device.empty(shape) for shape in ((3, 33), (1, 33, 3))]
    with pytest.raises(ShapeError, match="a window of 33, at most 32 fit"):
        cuda.causal_conv(device, x, long[0], bias, long[1])
    assert device.launches == []
