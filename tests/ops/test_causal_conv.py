"""causal_conv: nothing ahead is seen, and a sequence may be cut anywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from minigen.ops.causal_conv import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_same

NAMES = ("causal_conv", "causal_conv_silu")


def case(seed, b, n, c, w):
    """Return x, w, bias and state."""
    shapes = (b, n, c), (c, w), (c,), (b, w, c)
    return [st.floats(seed + i, *shape) for i, shape in enumerate(shapes)]


def whole(function, x, w, bias, state):
    """Run a function without touching the state that is given."""
    return function(x, w, bias, state.copy())


def in_parts(function, x, w, bias, state, cuts):
    """Run a function on one part after the other, handing the state over."""
    state, parts = state.copy(), []
    for part in np.split(x, cuts, axis=1):
        y, after = function(part, w, bias, state)
        assert after is state
        parts.append(y)
    return np.concatenate(parts, axis=1), state


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("module", [cpu, reference])
@given(st.b, st.n, st.c, st.w, st.seeds, hs.data())
def test_steps_are_the_sequence_wherever_it_is_cut(
    module, name, b, n, c, w, seed, data
):
    given, function = case(seed, b, n, c, w), getattr(module, name)
    y, state = whole(function, *given)
    some = data.draw(hs.lists(hs.integers(0, n), max_size=3).map(sorted))
    for cuts in (some, range(1, n)):
        parts, after = in_parts(function, *given, cuts)
        assert_same(parts, y)
        assert_same(after, state)


@pytest.mark.parametrize("module", [cpu, reference])
@given(st.n, st.c, st.w, st.seeds)
def test_nothing_ahead_is_seen(module, n, c, w, seed):
    x, *rest = case(seed, 1, n, c, w)
    y, _ = whole(module.causal_conv, x, *rest)
    for t in range(n):
        changed = x.copy()
        changed[:, t + 1 :] += 1
        assert_same(
            whole(module.causal_conv, changed, *rest)[0][:, : t + 1], y[:, : t + 1]
        )


def test_a_state_that_is_a_view_is_written():
    x, w, bias, state = case(0, 2, 5, 3, 4)
    wide = np.zeros((2, 4, 6), np.float32)
    view = wide[..., ::2]
    view[...] = state
    y, after = cpu.causal_conv(x, w, bias, view)
    expected, last = whole(cpu.causal_conv, x, w, bias, state)
    assert after is view
    assert_same(y, expected)
    assert_same(np.ascontiguousarray(view), last)
