"""conv2d on a GPU, interpreted: values, edges, and the same bits in any batch.

As in test_conv2d.py, with sides, channels and features that fill no tile of a kernel.
Every launch is watched: races, stray indices, and reads of what was never written.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as given_by

from minigen import arrays
from minigen.ops.conv2d import cuda, reference
from tests import strategies as st
from tests.ops.test_conv2d import ADDING, PLAIN, inputs, wide
from tests.tolerance import assert_close, assert_same

NAMES = (*PLAIN, *ADDING, "conv3x3_naive")

b = given_by.integers(1, 2)
y = x = given_by.integers(1, 4)
c = given_by.sampled_from((1, 2, 3, 5, 17))
f = given_by.sampled_from((1, 3, 4, 5, 33))
schedules = given_by.integers(0, 99)


def run(name, seed, values):
    """Return what a launcher makes of arrays of the host."""
    device = arrays.Interpreter(seed=seed, watch=True)
    return device.get(getattr(cuda, name)(device, *map(device.put, values)))


def check(name, values, seed=0):
    exact = getattr(reference, name.removesuffix("_naive"))
    magnitude = exact(*map(abs, wide(values)))
    assert_close(run(name, seed, values), exact(*wide(values)), magnitude)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6)
@given(b, y, x, c, f, st.weight_dtypes, st.seeds, schedules)
def test_close_to_the_reference(name, b, y, x, c, f, dtype, seed, schedule):
    check(name, inputs(name, seed, b, y, x, c, f, dtype), schedule)


@pytest.mark.parametrize("name", NAMES)
def test_several_tiles(name):
    # 2 images of 7 x 5 pixels are two tiles of 64, and the second image spans both
    check(name, inputs(name, 0, 2, 7, 5, 3, 6))
    check(name, inputs(name, 0, 1, 3, 2, 2, 65))


@pytest.mark.parametrize("name", ["conv3x3", "conv3x3_add"])
def test_many_channels(name):
    # the lanes of a warp go along them more than once, and columns span several tiles
    check(name, inputs(name, 0, 1, 2, 2, 40, 3))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=2)
@given(y, x, given_by.sampled_from((1, 3)), given_by.sampled_from((3, 5)), st.seeds)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(name, y, x, c, f, seed):
    images, w, bias, *rest = inputs(name, seed, 3, y, x, c, f)
    together = run(name, 0, (images, w, bias, *rest))
    order = [2, 0, 1]
    permuted = run(name, 1, (images[order], w, bias, *(r[order] for r in rest)))
    assert_same(permuted, together[order])
    alone = run(name, 2, (images[1:2], w, bias, *(r[1:2] for r in rest)))
    assert_same(alone, together[1:2])


@pytest.mark.parametrize("features", [1, 8])
def test_a_single_one_reads_the_weights_off(features):
    # of either kernel of conv3x3; the output right below the one sees the tap above
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1, 0] = 1
    w = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1).repeat(features, 0)
    out = run("conv3x3", 0, (x, w, np.zeros(features, np.float32)))
    for feature in range(features):
        seen = out[0, :, :, feature].tolist()
        assert seen == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]


def test_halving_pads_on_the_right_and_at_the_bottom():
    x, w = np.ones((1, 4, 4, 1), np.float32), np.ones((1, 3, 3, 1), np.float32)
    out = run("conv3x3_half", 0, (x, w, np.zeros(1, np.float32)))[0, :, :, 0]
    assert out.tolist() == [[9, 6], [6, 4]]


def test_halving_a_single_row_leaves_nothing():
    values = inputs("conv3x3_half", 0, 2, 1, 6, 3, 5)
    assert run("conv3x3_half", 0, values).shape == (2, 0, 3, 5)
