"""conv2d: values, edges, and that an image has the same bits in any batch.

Every function is held against its reference. Large 3x3 convolutions go another way
(Winograd), which rounds sums of inputs and of weights: their magnitude is what those
sums come to if nothing in them cancels.
"""

import numpy as np
import pytest
from hypothesis import given, settings

from minigen.cpu import packed
from minigen.ops.conv2d import cpu, reference, winograd
from tests import strategies as st
from tests.tolerance import assert_close, assert_same

PLAIN = ("conv3x3", "conv3x3_half")
ADDING = ("conv3x3_add",)

# odd sides with channels that fill no vector, and two panels of features
LARGE = [(1, 31, 35, 132, 128), (1, 33, 32, 128, 256)]


def wide(arrays):
    return [array.astype(np.float64) for array in arrays]


def inputs(name, seed, b, y, x, c, f, dtype=np.float32):
    """Return the arguments of one of the functions."""
    arrays = [
        st.floats(seed, b, y, x, c),
        st.floats(seed + 1, f, 3, 3, c, dtype=dtype),
        st.floats(seed + 2, f),
    ]
    return [*arrays, st.floats(seed + 3, b, y, x, f)] if "add" in name else arrays


def check(name, arrays):
    exact = getattr(reference, name)
    magnitude = exact(*map(abs, wide(arrays)))
    assert_close(getattr(cpu, name)(*arrays), exact(*wide(arrays)), magnitude)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("sides", [(32, 32), (9, 7)], ids=["Winograd", "patches"])
def test_large_weights_of_two_bytes_are_read_as_numbers(sides, dtype):
    # so large that they are packed as their bits
    size = (*sides, 256, 128)
    assert np.prod(size[2:]) * 9 >= packed.SMALL
    assert winograd.pays((1, *sides, 256), (128,)) == (sides == (32, 32))
    check("conv3x3", inputs("conv3x3", 0, 1, *size, dtype=dtype))


@pytest.mark.parametrize("name", PLAIN + ADDING)
@settings(max_examples=5)
@given(st.y, st.x, st.c, st.f, st.seeds)
def test_an_image_has_the_same_bits_alone_and_in_a_batch(name, y, x, c, f, seed):
    function, (images, w, bias, *rest) = (
        getattr(cpu, name),
        inputs(name, seed, 3, y, x, c, f),
    )
    together = function(images, w, bias, *rest)
    for i in (2, 0, 1):
        alone = function(images[i : i + 1], w, bias, *(r[i : i + 1] for r in rest))
        assert_same(alone, together[i : i + 1])


@pytest.mark.parametrize("name", PLAIN + ADDING)
def test_two_threads_equal_one(name, threads):
    arrays = inputs(name, 0, 2, 17, 13, 33, 65)
    with threads(1):
        one = getattr(cpu, name)(*arrays)
    with threads(2):
        assert_same(getattr(cpu, name)(*arrays), one)


def test_many_channels():
    check("conv3x3_add", inputs("conv3x3_add", 0, 1, 9, 7, 512, 36))


def test_a_single_one_reads_the_weights_off():
    # cross-correlation: the output right below the one sees the tap above its middle
    x = np.zeros((1, 3, 3, 1), np.float32)
    x[0, 1, 1, 0] = 1
    w = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    out = cpu.conv3x3(x, w, np.zeros(1, np.float32))[0, :, :, 0]
    assert out.tolist() == [[8, 7, 6], [5, 4, 3], [2, 1, 0]]


def test_halving_pads_on_the_right_and_at_the_bottom():
    x, w = np.ones((1, 4, 4, 1), np.float32), np.ones((1, 3, 3, 1), np.float32)
    out = cpu.conv3x3_half(x, w, np.zeros(1, np.float32))[0, :, :, 0]
    assert out.tolist() == [[9, 6], [6, 4]]


def winograd_magnitude(x, w, bias, *rest):
    """Run Winograd's algorithm in float64 on absolute values, with no sign anywhere."""
    b, height, width, _ = x.shape
    x, w, bias, *rest = (abs(a) for a in wide((x, w, bias, *rest)))
    one = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 0, 1]])
    grow = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]])
    gather = np.array([[1, 1, 1, 0], [0, 1, 1, 1]])
    padded = np.pad(x, ((0, 0), (1, 1 + height % 2), (1, 1 + width % 2), (0, 0)))
    squares = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (1, 2))
    squares = squares[:, ::2, ::2]
    v = np.einsum("im,jn,byxcmn->byxijc", one, one, squares, optimize=True)
    u = np.einsum("im,jn,fmnc->fijc", grow, grow, w, optimize=True)
    m = np.einsum("byxijc,fijc->byxijf", v, u, optimize=True)
    out = np.einsum("pi,qj,byxijf->bypxqf", gather, gather, m, optimize=True)
    out = out.reshape(b, padded.shape[1] - 2, padded.shape[2] - 2, -1)
    return sum(rest, out[:, :height, :width] + bias)


@pytest.mark.parametrize("sizes", LARGE, ids=str)
def test_winograd_is_close_to_the_reference(sizes):
    arrays = inputs("conv3x3_add", 0, *sizes)
    assert winograd.pays(arrays[0].shape, arrays[1].shape)
    exact = reference.conv3x3_add(*wide(arrays))
    out = cpu.conv3x3_add(*arrays)
    assert_close(out, exact, winograd_magnitude(*arrays))
    # numbers of one size keep even to what the terms of the plain sum allow
    assert_close(out, exact, reference.conv3x3_add(*map(abs, wide(arrays))))


def test_winograd_with_inputs_of_all_sizes():
    # each image has pixels a million times as large as others
    arrays = inputs("conv3x3", 0, 1, 32, 33, 128, 128)
    arrays[0] *= 10 ** np.random.default_rng(0).uniform(-3, 3, (1, 32, 33, 1))
    arrays[0] = arrays[0].astype(np.float32)
    expected = reference.conv3x3(*wide(arrays))
    assert_close(cpu.conv3x3(*arrays), expected, winograd_magnitude(*arrays))


def test_winograd_has_the_same_bits_in_any_batch(threads):
    images, w, bias, residual = inputs("conv3x3_add", 0, 3, 31, 35, 128, 128)
    with threads(2):
        together = cpu.conv3x3_add(images, w, bias, residual)
        order = [1, 2, 0]
        permuted = cpu.conv3x3_add(images[order], w, bias, residual[order])
        assert_same(permuted, together[order])
    with threads(1):
        assert_same(cpu.conv3x3_add(images, w, bias, residual), together)
        for i in range(3):
            alone = cpu.conv3x3_add(images[i : i + 1], w, bias, residual[i : i + 1])
            assert_same(alone, together[i : i + 1])
