"""Random numbers by Philox4x32-10: ten rounds of multiplying and mixing four words.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC
2011), section 3.3.
"""

from __future__ import annotations

import numpy as np

_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_MULTIPLIER0, _MULTIPLIER1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL0, _WEYL1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)

TOP = np.float32(2**24 - 1)
"""The last of the 2**24 parts of the unit interval."""


def philox(counter, key):
    """(4), (2) -> (), (), (), ()

    Return four random 32-bit words: ten rounds of Philox of a counter.

    counter: four integers or integer arrays that broadcast together; key: two integers.
    All are taken modulo 2**32. Returns four uint64 arrays whose values are below 2**32.

    >>> [hex(int(word)) for word in philox((0, 0, 0, 0), (0, 0))]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    counter = (c & 0xFFFFFFFF if isinstance(c, int) else c for c in counter)
    counter = (np.asarray(c).astype(np.uint64) & _LOW for c in counter)
    key = (np.uint64(int(k) & 0xFFFFFFFF) for k in key)
    return _rounds(*counter, *key)


def uniforms(key, images, positions, step, index):
    """(2), (b), (m) -> (b m)
    where key and images and positions are integers, step and index are integers

    Return one float32 number for each image and position of a decoding step.

    key: the two words of the seed, as from `rng.split_seed`; images, positions, step
    and index: integers, the four counters. The unit interval is divided into 2**24
    equal parts; a number is the centre of one, rounded to float32: never 0, never 1.

    >>> key = np.uint32([0, 0])
    >>> uniforms(key, np.array([0, 1]), np.array([5, 6, 7]), step=0, index=0).shape
    (2, 3)
    """
    images = np.asarray(images)[:, None]
    positions = np.asarray(positions)[None, :]
    words = philox((images, step, positions, index), key)
    top = (words[0] >> np.uint64(8)).astype(np.float32)
    # the topmost of the parts would round up to 1
    return np.minimum(top + np.float32(0.5), TOP) * np.float32(2**-24)


def _rounds(c0, c1, c2, c3, k0, k1):
    # words in uint64, so that a product of two keeps all its bits; scalars or arrays:
    # cuda.py compiles this very function for a GPU
    for _ in range(10):
        a = c0 * _MULTIPLIER0
        b = c2 * _MULTIPLIER1
        c0, c1, c2, c3 = (
            (b >> _WORD) ^ c1 ^ k0,
            b & _LOW,
            (a >> _WORD) ^ c3 ^ k1,
            a & _LOW,
        )
        k0, k1 = (k0 + _WEYL0) & _LOW, (k1 + _WEYL1) & _LOW
    return c0, c1, c2, c3
