"""mamba2_step on a GPU, interpreted: in one launch and in two, under any schedule.

Every launch here is watched: for races, stray indices, reads of what nobody wrote, and
traffic other than the headers say.
"""

from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as hypothesis_strategies

from minigen.errors import ShapeError
from minigen.ops.mamba2_step import cuda, reference
from minigen.ops.mamba2_step.spec import make_case, mamba2_step_magnitudes
from tests import strategies as st
from tests.kernels.collect import Recorder
from tests.tolerance import assert_close, assert_same

choose = hypothesis_strategies.sampled_from
r = h = b = choose((1, 2))
p = choose((1, 2, 3, 5))
s = choose((1, 2, 3, 8, 33))
w = choose((1, 2, 4))
schedules = hypothesis_strategies.integers(0, 99)
splits = hypothesis_strategies.booleans()


def case(*sizes):
    """Return the arguments of mamba2_step as a list."""
    return [*make_case(*sizes).values()]


ONE, TWO = ["_mamba2_step"], ["_mamba2_step_head", "_mamba2_step_norm"]


def run(given, schedule=0, split=False):
    """Return what mamba2_step makes of a case, and the kernels it launched.

    split: each head has a block of its own, however many there are.
    """
    device = Recorder(seed=schedule)
    moved = [device.put(a) if isinstance(a, np.ndarray) else a for a in given]
    with mock.patch.object(cuda, "FEW", 2**31 if split else 0):
        results = cuda.mamba2_step(device, *moved)
    # both states are moved on in place
    assert results[1] is moved[-4] and results[2] is moved[-3]
    for launch in device.launches:
        assert launch.findings() == [], launch.name
    names = [
        launch.name.removeprefix("mamba2_step.cuda.") for launch in device.launches
    ]
    return [device.get(a) for a in results], names


@example(b=1, r=1, h=2, p=67, s=2, w=4, split=False, seed=0, schedule=0)
@example(b=1, r=1, h=1, p=3, s=130, w=4, split=True, seed=0, schedule=0)
@example(b=1, r=1, h=1, p=2, s=300, w=2, split=False, seed=0, schedule=0)
@settings(max_examples=12)
@given(b, r, h, p, s, w, splits, st.seeds, schedules)
def test_close_to_the_reference(b, r, h, p, s, w, split, seed, schedule):
    given = case(seed, b, r, h, p, s, w)
    (y, conv, state), launched = run(given, schedule, split)
    assert launched == (TWO if split else ONE)
    wide = [g.astype(np.float64) if hasattr(g, "dtype") else g for g in given]
    expected, conv_after, state_after = reference.mamba2_step(*wide)
    y_magnitude, _, state_magnitude = mamba2_step_magnitudes(*given)
    assert_same(conv, conv_after.astype(np.float32))
    assert_close(state, state_after, state_magnitude)
    assert_close(y, expected, y_magnitude)


@example(b=1, r=2, h=1, p=66, s=33, w=4, seed=0)
@settings(max_examples=5)
@given(b, r, h, p, s, w, st.seeds)
def test_one_launch_and_two_give_the_same_bits(b, r, h, p, s, w, seed):
    given = case(seed, b, r, h, p, s, w)
    one, two = run(given)[0], run(given, 1, split=True)[0]
    for left, right in zip(one, two, strict=True):
        assert_same(left, right)


@settings(max_examples=4)
@given(r, h, p, s, w, splits, st.seeds)
def test_an_image_has_the_same_bits_in_any_batch(r, h, p, s, w, split, seed):
    projected, *rest, conv, state, r, eps = case(seed, 2, r, h, p, s, w)
    results, _ = run([projected, *rest, conv, state, r, eps], split=split)
    for i in range(2):
        own = [a[i : i + 1] for a in (projected, conv, state)]
        alone, _ = run([own[0], *rest, *own[1:], r, eps], 1, split=not split)
        for one, all_ in zip(alone, results, strict=True):
            assert_same(one, all_[i : i + 1])


def launched(b, r, h, p, s, few=0):
    """Return the kernels that a step of such sizes launches, without running them."""
    device = Recorder(interpret=False)
    moved = [
        device.put(a) if isinstance(a, np.ndarray) else a
        for a in case(0, b, r, h, p, s, 4)
    ]
    with mock.patch.object(cuda, "FEW", few):
        cuda.mamba2_step(device, *moved)
    return [launch.name.removeprefix("mamba2_step.cuda.") for launch in device.launches]


def test_which_way_is_taken():
    assert launched(1, 1, 1, 1, 1, few=2) == TWO
    assert launched(2, 1, 1, 1, 1, few=2) == ONE
    assert launched(1, 2, 1, 1, 1, few=2) == ONE
    # the widest that was announced, AiM-1B, fits; beyond the room, head by head
    assert launched(1, 1, 64, 64, 128) == ONE
    assert launched(1, 1, 64, 128, 128) == TWO
    assert launched(1, 1, 257, 1, 1) == TWO


def test_sizes_that_fit_nowhere_are_refused():
    with pytest.raises(ShapeError, match="2 channels with a state of 4096"):
        launched(1, 1, 1, 2, 4096)
