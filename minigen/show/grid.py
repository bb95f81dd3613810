"""Many images on one sheet, and one image on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain

import numpy as np

from minigen.images import check_images

GAP = 2  # pixels between neighbours
PAPER = 255  # brightness of the sheet behind the images
RAMP = " .:-=+*#%@"  # dark to bright, for terminals that may not have colours


def columns_for(count: int, classes: int = 1) -> int:
    """Return how many columns show `count` images best.

    Images of several classes get one row a class; those of one class a near square.

    >>> columns_for(1), columns_for(9), columns_for(12, classes=3)
    (1, 3, 4)
    """
    if 1 < classes <= count and count % classes == 0 and count > classes:
        return count // classes
    return math.ceil(math.sqrt(count))


def sheet_size(count: int, y: int, x: int, columns: int | None = None):
    """Return rows and columns, in pixels, of the sheet of `count` images of y x x.

    >>> sheet_size(6, 32, 32, columns=3)
    (66, 100)
    """
    columns = min(columns or columns_for(count), count)
    rows = -(-count // columns)
    return rows * (y + GAP) - GAP, columns * (x + GAP) - GAP


def grid(images: np.ndarray, columns: int | None = None) -> np.ndarray:
    """Lay images out row by row on one sheet; one image is returned as it is.

    `images` is uint8 (b, y, x, 3); the result is uint8 (rows, columns, 3).

    >>> grid(np.zeros((6, 32, 32, 3), np.uint8), columns=3).shape
    (66, 100, 3)
    """
    return lay([images], len(check_images(images)), columns)


def lay(parts: Iterable[np.ndarray], count: int, columns: int | None = None):
    """Return the sheet of `grid`, of `count` images that come in parts (b, y, x, 3).

    The parts are not kept: no more than the sheet and one of them is in memory.
    """
    columns, sheet = min(columns or columns_for(count), count), None
    images = chain.from_iterable(map(check_images, parts))
    for i, image in enumerate(images):
        y, x, _ = image.shape
        if sheet is None:
            sheet = np.full((*sheet_size(count, y, x, columns), 3), PAPER, np.uint8)
        top, left = i // columns * (y + GAP), i % columns * (x + GAP)
        sheet[top : top + y, left : left + x] = image
    return sheet


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """Repeat every pixel of `image` (y, x, 3) `scale` times each way."""
    if scale == 1:
        return image
    return image.repeat(scale, 0).repeat(scale, 1)


def shrink(image: np.ndarray, columns: int) -> np.ndarray:
    """Average square blocks of `image` (y, x, 3) until it is at most `columns` wide."""
    block = -(-image.shape[1] // columns)
    y, x = image.shape[0] // block, image.shape[1] // block
    cut = image[: y * block, : x * block].astype(np.float32)
    return cut.reshape(y, block, x, block, 3).mean((1, 3)).astype(np.uint8)


def text(image: np.ndarray, colours: bool, columns: int = 64) -> str:
    """Return `image` (y, x, 3) as lines for a terminal, at most `columns` wide.

    With colours a character shows two pixels, one above the other; without, it shows
    the mean brightness of both as one of ten signs.

    >>> print(text(np.array([[[0] * 3, [255] * 3]] * 2, np.uint8), colours=False) + "|")
     @|
    """
    small = shrink(image, columns)
    if len(small) % 2:
        small = np.concatenate([small, np.zeros_like(small[:1])])
    return "\n".join(
        _line(above, below, colours)
        for above, below in zip(small[::2], small[1::2], strict=True)
    )


def _line(above, below, colours):
    if colours:
        cells = (
            "\x1b[38;2;{};{};{};48;2;{};{};{}m\u2580".format(*a, *b)
            for a, b in zip(above, below, strict=True)
        )
        return "".join(cells) + "\x1b[0m"
    bright = np.concatenate([above, below], -1).mean(-1)
    return "".join(RAMP[int(v * len(RAMP) / 256)] for v in bright)
