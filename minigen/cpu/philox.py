"""Random numbers by Philox inside of kernels: the reference's rounds, word by word."""

from __future__ import annotations

import numpy as np

from minigen.ops.uniforms import reference
from minigen.target import serial

LOW, _TOP, _BYTE = reference._LOW, reference.TOP, np.uint64(8)

rounds = serial(reference._rounds)
"""The reference's own ten rounds, of four words instead of four arrays."""


@serial
def unit(word):
    """Return the number of (0, 1) that the upper 24 bits of a random word stand for."""
    # the topmost of the parts would round up to 1
    top = np.float32(word >> _BYTE) + np.float32(0.5)
    return min(top, _TOP) * np.float32(2**-24)


def counter(number):
    """Return an integer as Philox counts, modulo 2**32, in a word of 64 bits."""
    return np.uint64(int(number) % 2**32)


def counters(numbers):
    """Return an array of integers as Philox counts: see `counter`."""
    return np.ascontiguousarray(numbers).astype(np.uint64) & LOW
