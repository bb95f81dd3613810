"""Philox4x32-10: a random number is a pure function of where it is used.

There is no generator object and no hidden state. A draw is named by five counters
(seed, image, step, position, index), and the same name gives the same number on every
backend, in any batch, with any number of threads.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC
2011).
"""

from __future__ import annotations

import numpy as np

from minigen.errors import InputError

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_TOP = np.float32(2**24 - 1)

ORDER_IMAGE = 0xFFFFFFFF
"""The image number that no image has: its draws decide the order of a run."""


def philox(counter, key):
    """Return the four 32-bit words that ten rounds of Philox make of a counter.

    counter: four integers or integer arrays that broadcast together; key: two integers.
    All are taken modulo 2**32. Returns four uint64 arrays whose values are below 2**32.

    >>> [hex(int(word)) for word in philox((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = (np.asarray(c).astype(np.uint64) & _LOW for c in counter)
    k0, k1 = (int(k) & 0xFFFFFFFF for k in key)
    for _ in range(10):
        a = c0 * _MULTIPLIERS[0]
        b = c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (b >> _SHIFT) ^ c1 ^ np.uint64(k0),
            b & _LOW,
            (a >> _SHIFT) ^ c3 ^ np.uint64(k1),
            a & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniforms(seed, images, step, positions, index=0):
    """Return one uniform for each image and position of a decoding step.

    images (b), positions (m) integers; seed, step, index scalars. Returns float32 (b
    m), each the centre of one of 2**24 equal parts of the unit interval, as near as
    float32 comes to it: never 0, never 1.

    >>> uniforms(seed=0, images=[0, 1], step=0, positions=[5, 6, 7]).shape
    (2, 3)
    """
    # (b), (m) -> (b m)
    images = np.asarray(images, np.uint64)[:, None]
    positions = np.asarray(positions, np.uint64)[None, :]
    words = philox((images, step, positions, index), split_seed(seed))
    top = (words[0] >> np.uint64(8)).astype(np.float32)
    # the topmost of the parts would round up to 1
    return np.minimum(top + np.float32(0.5), _TOP) * np.float32(2**-24)


def permutation(seed, n):
    """Return a permutation of 0 .. n - 1 (int64) that depends on nothing but `seed`."""
    high, low, _, _ = philox((ORDER_IMAGE, 0, np.arange(n), 0), split_seed(seed))
    return np.argsort((high << _SHIFT) | low, kind="stable")


def split_seed(seed):
    """Return the two 32-bit key words of a seed, or raise InputError."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise InputError(f"seed {seed!r} is not a whole number")
    if not 0 <= seed < 2**64:
        raise InputError(f"seed {seed} is outside 0 .. 2**64 - 1; choose one inside")
    return int(seed) & 0xFFFFFFFF, int(seed) >> 32
