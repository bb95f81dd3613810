"""Philox4x32-10: a random number is a pure function of five counters.

They are seed, image, step, position and index. There is no generator object and no
hidden state: the same counters give the same number on every backend, in any batch,
with any number of threads. (What follows from that for images: `minigen/sameness`.)

The rounds, and their source, are in `minigen/ops/uniforms/reference.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigen.checks import LAST_IMAGE, integer
from minigen.ops.uniforms import reference
from minigen.ops.uniforms.reference import philox

__all__ = ["ORDER_IMAGE", "permutation", "philox", "split_seed", "uniforms"]

ORDER_IMAGE = LAST_IMAGE + 1
"""An image number that no image has: its draws make the random order of a plan."""


def uniforms(
    seed: int, images: ArrayLike, step: int, positions: ArrayLike, index: int = 0
) -> NDArray[np.float32]:
    """Return one uniform for each image and position of a decoding step.

    images (b), positions (m): integers; seed, step, index: scalars. Returns float32 (b
    m). The unit interval is divided into 2**24 equal parts; a number is the centre of
    one of them, rounded to float32: never 0, never 1.

    >>> uniforms(seed=0, images=[0, 1], step=0, positions=[5, 6, 7]).shape
    (2, 3)
    """
    return reference.uniforms(split_seed(seed), images, positions, step, index)


def permutation(
    seed: int, n: int, step: int = 0, image: int | None = None
) -> NDArray[np.int64]:
    """Return a random permutation of 0 .. n - 1 (int64), a function of the numbers.

    seed: of the run; step: an order may need one for every step; image: the number of
    an image that has one of its own.

    >>> sorted(permutation(seed=0, n=4).tolist())
    [0, 1, 2, 3]
    >>> bool((permutation(0, 64) == permutation(0, 64, step=1)).all())
    False
    """
    whose = 0 if image is None else 1 + image
    counter = ORDER_IMAGE, whose, np.arange(n), step
    high, low, _, _ = philox(counter, split_seed(seed))
    return np.argsort((high << np.uint64(32)) | low, kind="stable")


def split_seed(seed: int) -> tuple[int, int]:
    """Return the two 32-bit key words of a seed, or raise InputError.

    >>> split_seed(2 * 2**32 + 5)  # the low word first
    (5, 2)
    """
    seed = integer("seed", seed, most=2**64 - 1)
    return seed & 0xFFFFFFFF, seed >> 32
