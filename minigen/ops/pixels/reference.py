"""Pixel conversions of the original sampling and training scripts.

Source: FoundationVision/LlamaGen sample_c2i_ddp.py (out) and extract_codes_c2i.py (in).
"""

import numpy as np


def to_pixels(x):
    """(b y x c) -> (b y x c)

    Return uint8 pixels: 127.5 x + 128, clamped to 0..255 and truncated.

    >>> to_pixels(np.float32([-1, 0, 1, 9]))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    value = x * x.dtype.type(127.5) + x.dtype.type(128)
    return np.clip(value, 0, 255).astype(np.uint8)


def from_pixels(image):
    """(b y x c) -> (b y x c)
    where image is a byte

    Return float32 values in [-1, 1]: (image / 255 - 0.5) / 0.5.

    >>> from_pixels(np.uint8([0, 255]))
    array([-1.,  1.], dtype=float32)
    """
    unit = image.astype(np.float32) / np.float32(255)
    return (unit - np.float32(0.5)) / np.float32(0.5)
