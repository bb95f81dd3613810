"""Exercises of lesson 08; `python lessons/check.py 08` says which are solved."""

import numpy as np


def token_mask(mask: np.ndarray, factor: int) -> np.ndarray:
    """Return which tokens are redrawn: bool (rows columns), True if any pixel is.

    mask: bool (rows * factor, columns * factor), True for pixels to be redrawn; a token
    is a square of factor x factor pixels.
    """
    y, x = mask.shape
    squares = mask.reshape(y // factor, factor, x // factor, factor)
    return squares.any(axis=(1, 3))


def groups_after(order: list, known: list, counts: list) -> list:
    """Return the groups of a plan, one a step: a list of lists of positions.

    order: every position of a grid once; known: positions whose tokens are known, which
    are not drawn; counts: how many of the others each step draws, in their order. All
    are lists of int, and the counts add up to the number of unknown positions.
    """
    unknown = [position for position in order if position not in known]
    ends = np.cumsum(counts, dtype=int)
    return [unknown[e - n : e] for n, e in zip(counts, ends, strict=True)]


def moved(positions: list, columns: int, wide: int, down: int, right: int) -> list:
    """Return the positions of cells on a larger grid: a list of int.

    positions: cells of a small grid with so many columns, numbered row by row. The
    large grid has `wide` columns, and the small one lies in it, `down` rows and `right`
    columns from its first cell.
    """
    cells = [divmod(position, columns) for position in positions]
    return [(y + down) * wide + x + right for y, x in cells]
