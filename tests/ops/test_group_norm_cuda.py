"""group_norm on a GPU, interpreted: values, accuracy far from zero, the same bits.

As in test_group_norm.py, and with what float32 sums have to fear: numbers far from
zero, one number far from all others, and constants. Every launch of a small image is
watched: races, stray indices, and reads of what was never written.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as given_by

from minigen import arrays
from minigen.checking import specs
from minigen.ops.group_norm import cuda, reference
from tests import strategies as st
from tests.ops.test_group_norm import EPS, NAMES, inputs
from tests.tolerance import assert_close, assert_same

b = given_by.integers(1, 2)
y = x = given_by.integers(1, 7)
r = given_by.sampled_from((1, 2, 3))
per_group = given_by.sampled_from((1, 2, 3, 33))
schedules = given_by.integers(0, 99)


def run(name, images, w, bias, r, seed=0, watch=True):
    """Return what a launcher makes of arrays of the host."""
    device = arrays.Interpreter(seed=seed, watch=watch)
    moved = map(device.put, (images, w, bias))
    return device.get(getattr(cuda, name)(device, *moved, r, EPS))


def check(name, images, w, bias, r, seed=0, watch=True):
    wide = [a.astype(np.float64) for a in (images, w, bias)]
    expected = getattr(reference, name)(*wide, r, EPS)
    magnitude = specs.SPECS[name].magnitude(images, w, bias, r, EPS)
    result = run(name, images, w, bias, r, seed, watch)
    assert_close(result, expected, magnitude)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12)
@given(b, y, x, r, per_group, st.weight_dtypes, st.seeds, schedules)
def test_close_to_the_reference(name, b, y, x, r, per_group, dtype, seed, schedule):
    images, w, bias = inputs(seed, b, y, x, r * per_group)
    check(name, images, w.astype(dtype), bias.astype(dtype), r, schedule)


@pytest.mark.parametrize("name", NAMES)
def test_more_channels_than_threads(name):
    # of a block, and of a group
    check(name, *inputs(0, 1, 2, 2, 300), 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [0.0, 30.0, -1000.0, 1e6])
def test_an_image_of_many_chunks_far_from_zero(name, offset):
    # the last of 39 chunks has 5 positions; their means take two warps to join
    check(name, *inputs(0, 1, 33, 37, 20, offset), 2, watch=False)


def test_a_group_whose_means_take_several_warps():
    # and not all threads of the last one
    check("group_norm", *inputs(0, 1, 8, 11, 100), 1)


@pytest.mark.parametrize("where", [0, 1, 31, 32, 39])
@pytest.mark.parametrize("size", [1e3, -1e6])
def test_one_number_far_from_all_others(where, size):
    # such as the first of a chunk, from which the others are counted
    images, w, bias = inputs(0, 1, 5, 8, 2)
    images.reshape(40, 2)[where, 0] = size
    check("group_norm", images, w, bias, 1, watch=False)


@pytest.mark.parametrize("size", [1e4, -1e6])
def test_one_chunk_far_from_all_others(size):
    # and first of its group: it is what the means are counted from
    images, w, bias = inputs(0, 1, 33, 37, 20)
    images.reshape(-1, 20)[:32, 0] += np.float32(size)
    check("group_norm", images, w, bias, 2, watch=False)


def test_groups_are_centred_and_scaled():
    images, _, _ = inputs(0, 2, 9, 9, 8, 5.0)
    one, nothing = np.ones(8, np.float32), np.zeros(8, np.float32)
    out = run("group_norm", images, one, nothing, 4, watch=False).astype(np.float64)
    groups = out.reshape(2, 81, 4, 2)
    assert abs(groups.mean((1, 3))).max() < 1e-6
    assert abs(groups.var((1, 3)) - 1).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [3.25, 0.1, -1e6 / 3])
def test_a_constant_image_becomes_the_bias(name, value):
    images, (w, bias) = (
        np.full((1, 5, 8, 6), value, np.float32),
        inputs(0, 1, 1, 1, 6)[1:],
    )
    out = run(name, images, w, bias, 2)
    if name == "group_norm":
        assert_same(out, np.broadcast_to(bias, images.shape))
    expected = bias / (1 + np.exp(-bias.astype(float))) if "swish" in name else bias
    assert_close(out, np.broadcast_to(expected, images.shape), abs(bias))


def test_swish_of_very_large_numbers():
    images, _, _ = inputs(0, 1, 4, 4, 2)
    low, high = np.float32([-1e4, 1e4]), np.zeros(2, np.float32)
    out = run("group_norm_swish", images, high, low, 1)
    assert (out == np.float32([0, 1e4])).all()


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=2)
@given(y, x, r, per_group, st.seeds)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(
    name, y, x, r, per_group, seed
):
    images, w, bias = inputs(seed, 3, y, x, r * per_group)
    together = run(name, images, w, bias, r, seed=0)
    order = [2, 0, 1]
    assert_same(run(name, images[order], w, bias, r, seed=1), together[order])
    assert_same(run(name, images[1:2], w, bias, r, seed=2), together[1:2])
