"""upsample, lookup and pixels on a GPU, interpreted: as their tests on the CPU.

Pixels must be the reference's to the last bit. Every launch is watched: races, stray
indices, and reads of what was never written.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as given_by

from minigen import target
from minigen.ops.lookup import cuda as lookup_cuda
from minigen.ops.lookup import reference as lookup
from minigen.ops.lookup.spec import distances_magnitude
from minigen.ops.pixels import cuda as pixels_cuda
from minigen.ops.pixels import reference as pixels
from minigen.ops.upsample import cuda as upsample_cuda
from minigen.ops.upsample import reference as upsample
from tests import strategies as st
from tests.kernels.collect import ran as run
from tests.ops.test_pixels import GREYS
from tests.tolerance import EPS, FACTOR, assert_close, assert_same

b = given_by.integers(1, 2)
y = x = given_by.integers(1, 5)
c = given_by.sampled_from((1, 2, 3, 8, 33, 130))
n = given_by.sampled_from((1, 3, 4, 5))
k = given_by.sampled_from((1, 2, 31, 33, 129, 260))
width = given_by.sampled_from((1, 2, 8, 17))
schedules = given_by.integers(0, 99)


@given(b, y, x, c, st.seeds, schedules)
def test_each_position_becomes_four(b, y, x, c, seed, schedule):
    images = st.floats(seed, b, y, x, c)
    out = run(upsample_cuda.upsample, images, schedule=schedule)
    assert_same(out, upsample.upsample(images))


@given(n, c, st.weight_dtypes, st.seeds, schedules)
def test_rows_get_length_one(n, c, dtype, seed, schedule):
    rows = st.floats(seed, n, c, dtype=dtype)
    out = run(lookup_cuda.unit, rows, schedule=schedule)
    expected = lookup.unit(rows.astype(np.float64))
    assert out.dtype == np.float32
    assert_close(out, expected, abs(expected))


def test_a_row_of_zeros_stays_zero():
    assert not run(lookup_cuda.unit, np.zeros((3, 5), np.float32)).any()


@given(n, k, width, st.weight_dtypes, st.seeds, schedules)
def test_distances(n, k, c, dtype, seed, schedule):
    z, codes = st.floats(seed, n, c), st.floats(seed + 1, k, c, dtype=dtype)
    wide = z.astype(np.float64), codes.astype(np.float64)
    out = run(lookup_cuda.distances, z, codes, schedule=schedule)
    assert_close(out, lookup.distances(*wide), distances_magnitude(*wide))


@settings(max_examples=8)
@given(n, k, width, st.weight_dtypes, st.seeds, schedules)
def test_no_code_is_nearer_than_the_one_found(n, k, c, dtype, seed, schedule):
    z, codes = st.floats(seed, n, c), st.floats(seed + 1, k, c, dtype=dtype)
    found = run(lookup_cuda.lookup, z, codes, schedule=schedule)
    assert found.dtype == np.int64
    # the same distances, looked through from the first on
    near = run(lookup_cuda.distances, z, codes)
    assert_same(found, near.argmin(-1))
    wide = z.astype(np.float64), codes.astype(np.float64)
    exact, size = lookup.distances(*wide), distances_magnitude(*wide)
    # rounding may decide between two codes only if they are as far, up to rounding
    spare = 2 * FACTOR * EPS * size.max(-1)
    assert (exact[np.arange(n), found] <= exact.min(-1) + spare).all()


@settings(max_examples=10)
@given(n, k, given_by.sampled_from((1, 2)), st.seeds, schedules)
def test_ties_go_to_the_lowest_index(n, k, c, seed, schedule):
    # integers have exact distances, and few of them many ties
    z = st.integers(seed, 3, n, c).astype(np.float32)
    codes = st.integers(seed + 1, 3, k, c).astype(np.float32)
    exact = ((z[:, None] - codes) ** 2).sum(-1)
    found = run(lookup_cuda.lookup, z, codes, schedule=schedule)
    assert_same(found, exact.argmin(-1))


def test_a_vector_has_the_same_code_in_any_batch():
    z, codes = st.floats(0, 6, 3), st.floats(1, 140, 3)
    together = run(lookup_cuda.lookup, z, codes)
    alone = [run(lookup_cuda.lookup, z[i : i + 1], codes)[0] for i in range(6)]
    assert together.tolist() == alone
    near = run(lookup_cuda.distances, z, codes)
    assert_same(run(lookup_cuda.distances, z[4:5], codes), near[4:5])
    assert_same(run(lookup_cuda.unit, z[4:5]), run(lookup_cuda.unit, z)[4:5])


def test_distances_beyond_float32_still_give_a_code():
    z, codes = np.full((2, 2), 1e30, np.float32), np.zeros((3, 2), np.float32)
    assert run(lookup_cuda.lookup, z, codes).tolist() == [0, 0]
    assert set(run(lookup_cuda.lookup, z, z).tolist()) <= {0, 1}


@given(b, y, x, given_by.sampled_from((1, 3)), st.seeds, schedules)
def test_pixels_are_the_references(b, y, x, c, seed, schedule):
    images = st.floats(seed, b, y, x, c, scale=0.5)
    out = run(pixels_cuda.to_pixels, images, schedule=schedule)
    assert_same(out, pixels.to_pixels(images))


@settings(max_examples=5)
@given(st.seeds)
def test_pixels_beside_every_step_are_the_references(seed):
    # where rounding once or twice decides which of two greys a number becomes
    steps = np.float32((np.arange(257) - 128) / 127.5)
    near = [steps + np.float32(i) * np.spacing(steps) for i in range(-2, 3)]
    images = (
        np.random.default_rng(seed).permutation(np.ravel(near)).reshape(1, 5, 257, 1)
    )
    assert_same(run(pixels_cuda.to_pixels, images), pixels.to_pixels(images))


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("cc", [(7, 5), (8, 0), (9, 0)], ids=str)
def test_the_product_of_a_pixel_is_rounded_before_the_sum(cc):
    # the interpreter never fuses the two; what is compiled must not either
    arguments = np.zeros(1, np.float32), np.zeros(1, np.uint8)
    types = target.argument_types(arguments)
    ptx = target.compile_ptx(pixels_cuda._to_pixels, types, cc)
    assert "fma" not in ptx
    assert ptx.count("mul.rn.f32") == ptx.count("add.rn.f32") == 1


def test_every_grey_goes_in_and_out():
    values = run(pixels_cuda.from_pixels, GREYS)
    assert_same(values, pixels.from_pixels(GREYS))
    assert_same(run(pixels_cuda.to_pixels, values), GREYS)


def test_values_beyond_are_clamped():
    images = np.float32([-2, -1.01, 1.004, 3, 1e30, -1e30]).reshape(1, 1, 6, 1)
    out = run(pixels_cuda.to_pixels, images)
    assert out.ravel().tolist() == [0, 0, 255, 255, 255, 0]
