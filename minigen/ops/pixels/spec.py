"""Specifications of pixels, from floats and to them."""

import numpy as np

from minigen.checking.spec import Spec, floats, integers
from minigen.checking.tolerance import EPS


def draw_to_pixels(draw):
    """Draw x (b y x c), some of it beyond -1 .. 1."""
    b, y, x, c, seed = *draw.sizes("byxc"), draw.seed()
    return {"x": floats(seed, b, y, x, c)}


def to_pixels_errors(x, result):
    """Return how far 127.5 x + 128 lies from the grey values that would become it."""
    value = 127.5 * x.astype(np.float64) + 128
    lowest = np.where(result == 0, -np.inf, result)
    highest = np.where(result == 255, np.inf, result + 1.0)
    off = np.maximum(np.maximum(lowest - value, value - highest), 0)
    return off / (EPS * (127.5 * abs(x) + 128))


def draw_from_pixels(draw):
    """Draw image (b y x c) of uint8."""
    b, y, x, c, seed = *draw.sizes("byxc"), draw.seed()
    return {"image": integers(seed, 256, b, y, x, c).astype(np.uint8)}


def from_pixels_magnitude(image):
    """Return 2 image / 255 + 1: both terms counted as positive."""
    return 2 * image / 255.0 + 1


SPECS = (
    Spec("to_pixels", draw_to_pixels, judge=to_pixels_errors, batched=("x",)),
    Spec("from_pixels", draw_from_pixels, from_pixels_magnitude, batched=("image",)),
)
