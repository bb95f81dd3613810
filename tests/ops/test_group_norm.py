"""group_norm: values, accuracy over large images, the same bits in any batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as given_by

from minigen.checking.specs import SPECS
from minigen.ops.group_norm import cpu, reference
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

EPS = 1e-6
NAMES = ("group_norm", "group_norm_swish")

r = given_by.sampled_from((1, 2, 32))
per_group = given_by.sampled_from((1, 2, 3, 4, 33))


def inputs(seed, b, y, x, c, offset=0.0):
    shift = np.float32(offset)
    return st.floats(seed, b, y, x, c) + shift, st.floats(1, c), st.floats(2, c)


def check(name, x, w, bias, r):
    wide = [a.astype(np.float64) for a in (x, w, bias)]
    expected = getattr(reference, name)(*wide, r, EPS)
    assert_close(
        getattr(cpu, name)(x, w, bias, r, EPS),
        expected,
        SPECS[name].magnitude(x, w, bias, r, EPS),
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("offset", [0.0, 30.0, -1000.0])
def test_a_large_image_far_from_zero(name, offset):
    check(name, *inputs(0, 1, 128, 129, 64, offset), 32)


def test_groups_are_centred_and_scaled():
    x, _, _ = inputs(0, 2, 9, 9, 64, 5.0)
    one, nothing = np.ones(64, np.float32), np.zeros(64, np.float32)
    out = cpu.group_norm(x, one, nothing, 32, EPS).astype(np.float64)
    groups = out.reshape(2, 81, 32, 2)
    assert abs(groups.mean((1, 3))).max() < 1e-6
    assert abs(groups.var((1, 3)) - 1).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_image_becomes_the_bias(name):
    x, w, bias = np.full((1, 4, 4, 8), 3.25, np.float32), *inputs(0, 1, 1, 1, 8)[1:]
    out = getattr(cpu, name)(x, w, bias, 2, EPS)
    expected = bias / (1 + np.exp(-bias.astype(float))) if "swish" in name else bias
    assert_close(out, np.broadcast_to(expected, x.shape), abs(bias))


def test_swish_of_very_large_numbers():
    x, w, bias = inputs(0, 1, 4, 4, 2)
    low, high = np.float32([-1e4, 1e4]), np.zeros(2, np.float32)
    out = cpu.group_norm_swish(x, high, low, 1, EPS)
    assert (out == np.float32([0, 1e4])).all()


@pytest.mark.parametrize("name", NAMES)
@given(st.y, st.x, r, per_group, st.seeds)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(
    name, y, x, r, per_group, seed
):
    function, (images, w, bias) = (
        getattr(cpu, name),
        inputs(seed, 3, y, x, r * per_group),
    )
    together = function(images, w, bias, r, EPS)
    for i in range(3):
        alone = function(images[i : i + 1], w, bias, r, EPS)
        assert_same(alone, together[i : i + 1])
    order = [2, 0, 1]
    assert_same(function(images[order], w, bias, r, EPS), together[order])


@pytest.mark.parametrize("name", NAMES)
def test_two_threads_equal_one(name, threads):
    function, arrays = getattr(cpu, name), inputs(0, 2, 33, 31, 64)
    with threads(1):
        one = function(*arrays, 32, EPS)
    with threads(2):
        assert_same(function(*arrays, 32, EPS), one)
