"""Pixels as MAR and its descendants write them, which `pixels` truncates.

Source: Qinyu-Allen-Zhao/Arinar engine_mar.py::evaluate.
"""

import numpy as np


def to_rounded_pixels(x):
    """(b y x c) -> (b y x c)

    Return uint8 pixels: (x + 1) / 2 of 255, clamped, rounded half to even.

    >>> to_rounded_pixels(np.float32([-1, 0, 1, 9]))
    array([  0, 128, 255, 255], dtype=uint8)
    """
    unit = (x + x.dtype.type(1)) / x.dtype.type(2)
    return np.rint(np.clip(unit * x.dtype.type(255), 0, 255)).astype(np.uint8)
