"""mamba2_step: the ops of a Mamba-2 mixer in one, token after token."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as hs

from minigen.checking.specs import steps
from minigen.ops.mamba2_step import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

groups = hs.integers(1, 2)


def case(*sizes):
    """Return the arguments of mamba2_step as a list."""
    return [*steps.make_case(*sizes).values()]


def run(function, case):
    """Run a step without touching the states that are given."""
    *given, conv, state, r, eps = case
    return function(*given, conv.copy(), state.copy(), r, eps)


@given(st.b, groups, st.h, st.p, st.s, st.w, st.seeds)
def test_close_to_the_reference(b, r, h, p, s, w, seed):
    given = case(seed, b, r, h, p, s, w)
    y, conv, state = run(cpu.mamba2_step, given)
    wide = [g.astype(np.float64) if hasattr(g, "dtype") else g for g in given]
    expected, conv_after, state_after = run(reference.mamba2_step, wide)
    y_magnitude, _, state_magnitude = steps.mamba2_step_magnitudes(*given)
    assert_same(conv, conv_after.astype(np.float32))
    assert_close(state, state_after, state_magnitude)
    assert_close(y, expected, y_magnitude)


@given(groups, st.h, st.p, st.s, st.w, st.seeds)
def test_images_in_another_order_give_the_same_bits(r, h, p, s, w, seed):
    projected, *rest, conv, state, r, eps = case(seed, 3, r, h, p, s, w)
    results = run(cpu.mamba2_step, [projected, *rest, conv, state, r, eps])
    order = [2, 0, 1]
    moved = [projected[order], *rest, conv[order], state[order], r, eps]
    for one, other in zip(run(cpu.mamba2_step, moved), results, strict=True):
        assert_same(one, other[order])


def test_two_threads_give_the_bits_of_one(threads):
    given, results = case(0, 3, 2, 3, 17, 33, 4), []
    for count in (1, 2):
        with threads(count):
            results.append(run(cpu.mamba2_step, given))
    for one, two in zip(*results, strict=True):
        assert_same(one, two)
