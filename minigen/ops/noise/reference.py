"""Random numbers by Philox for any rows: each row is a position of an image.

In `uniforms` all images of a step share their positions. Here every row has its own
image and position, and gets m numbers: those of index first .. first + m - 1.

Source: Box and Muller, "A note on the generation of random normal deviates" (1958).
"""

from __future__ import annotations

import numpy as np

from minigen.ops.uniforms.reference import TOP, philox


def uniforms_at(key, images, positions, step, first, m):
    """(2), (b), (b) -> (b m)
    where key and images and positions are integers, step and first are integers, m >=
    0

    Return float32 numbers in 0 .. 1, the same as those of `uniforms`.

    >>> key, image, position = np.uint32([0, 0]), np.array([3]), np.array([9])
    >>> uniforms_at(key, image, position, step=0, first=0, m=4).shape
    (1, 4)
    """
    return _unit(_words(key, images, positions, step, first, m)[0])


def normals_at(key, images, positions, step, first, m):
    """(2), (b), (b) -> (b m)
    where key and images and positions are integers, step and first are integers, m >=
    0

    Return float32 normal numbers, independent of `uniforms_at` of the same counters.

    Two uniforms u and v give the length sqrt(-2 ln u) and the angle 2 pi v of a point;
    its first coordinate is the number.

    >>> key, image, position = np.uint32([0, 0]), np.array([3]), np.array([9])
    >>> normals_at(key, image, position, step=0, first=0, m=4).shape
    (1, 4)
    """
    _, u, v, _ = _words(key, images, positions, step, first, m)
    u, v = _unit(u).astype(np.float64), _unit(v).astype(np.float64)
    return (np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)).astype(np.float32)


def _words(key, images, positions, step, first, m):
    images, positions = np.asarray(images)[:, None], np.asarray(positions)[:, None]
    indices = int(first) % 2**32 + np.arange(m)
    return philox((images, step, positions, indices), key)


def _unit(word):
    # the centre of one of 2**24 parts of the unit interval
    top = (word >> np.uint64(8)).astype(np.float32)
    return np.minimum(top + np.float32(0.5), TOP) * np.float32(2**-24)
