"""Random numbers of a step: ten rounds a number, one number after the other.

A step draws b m numbers, a few hundred at most: too few for a second thread.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.ops.uniforms import reference
from minigen.target import serial

LOW, _TOP, _BYTE = reference._LOW, reference.TOP, np.uint64(8)

rounds = serial(reference._rounds)
"""The reference's own rounds, of four words instead of four arrays."""


@serial
def unit(word):
    """Return the number of (0, 1) that the upper 24 bits of a random word stand for."""
    # the topmost of the parts would round up to 1
    top = np.float32(word >> _BYTE) + np.float32(0.5)
    return min(top, _TOP) * np.float32(2**-24)


@serial
def _uniforms(images, positions, step, index, k0, k1, u):
    for i in range(images.size):
        for j in range(positions.size):
            words = rounds(images[i], step, positions[j], index, k0, k1)
            u[i, j] = unit(words[0])


def uniforms(key, images, positions, step, index):
    """(2), (b), (m) -> (b m)"""
    u = buffers.empty((len(images), len(positions)))
    rows = counters(images), counters(positions)
    _uniforms(*rows, counter(step), counter(index), *map(counter, key), u)
    return u


def counter(number):
    """Return an integer as Philox counts, modulo 2**32, in a word of 64 bits."""
    return np.uint64(int(number) % 2**32)


def counters(numbers):
    """Return an array of integers as Philox counts: see `counter`."""
    return np.ascontiguousarray(numbers).astype(np.uint64) & LOW
