"""pixels: exact at every grey value and on both sides of every step."""

from fractions import Fraction

import numpy as np

from minigen.ops.pixels import cpu
from minigen.ops.rounded_pixels import cpu as rounded
from tests.tolerance import assert_same

GREYS = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_every_grey_goes_in_and_out():
    values = cpu.from_pixels(GREYS)
    assert values.dtype == np.float32
    assert values.min() == -1 and values.max() == 1
    assert_same(cpu.to_pixels(values), GREYS)


def test_values_are_within_a_rounding_of_the_exact_ones():
    exact = [2 * Fraction(u, 255) - 1 for u in range(256)]
    for value, fraction in zip(cpu.from_pixels(GREYS).ravel(), exact, strict=True):
        assert abs(Fraction(float(value)) - fraction) <= Fraction(1, 2**23)


def test_pixels_are_truncated_after_the_shift():
    # values far enough from a step that float32 cannot cross it
    middle = (np.arange(256) + 0.5 - 128) / 127.5
    for offset in (-0.49, 0.0, 0.49):
        x = (middle + offset / 127.5).astype(np.float32).reshape(GREYS.shape)
        assert_same(cpu.to_pixels(x), GREYS)


def test_values_beyond_are_clamped():
    x = np.float32([-2, -1.01, 1.004, 3, 1e30, -1e30]).reshape(1, 1, 6, 1)
    assert cpu.to_pixels(x).ravel().tolist() == [0, 0, 255, 255, 255, 0]


def test_rounded_pixels_undo_from_pixels():
    assert_same(rounded.to_rounded_pixels(cpu.from_pixels(GREYS)), GREYS)


def test_rounded_pixels_are_the_nearest():
    # values almost half a step away, on both sides
    exact = np.arange(256) / 127.5 - 1
    for offset in (-0.49, 0.49):
        x = (exact + offset / 127.5).astype(np.float32).reshape(GREYS.shape)
        assert_same(rounded.to_rounded_pixels(x), GREYS)
    # half a step is rounded to the even grey: 127.5 is 128
    assert rounded.to_rounded_pixels(np.zeros((1, 1, 1, 1), np.float32)).item() == 128


def test_rounded_pixels_are_clamped():
    x = np.float32([-2, -1.01, 1.004, 3, 1e30, -1e30]).reshape(1, 1, 6, 1)
    assert rounded.to_rounded_pixels(x).ravel().tolist() == [0, 0, 255, 255, 255, 0]
