"""Random numbers of a step: ten rounds a number, one number after the other.

A step draws b m numbers, a few hundred at most: too few for a second thread.
"""

from __future__ import annotations

from minigen.cpu import buffers
from minigen.cpu.philox import counter, counters, rounds, unit
from minigen.target import serial


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
