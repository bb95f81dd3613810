"""Exercises of lesson 06; `python lessons/check.py 06` says which are solved."""

import numpy as np


def gap_of_table(joint: np.ndarray) -> float:
    """Return how far a joint table is from the product of its two distributions.

    joint: float64 (v w), all at least 0, 1 in all: p(a, b). Return the total variation,
    a number: half the sum of |p(a, b) - p(a) p(b)| over all cells of the table.
    """


def at_odds(
    probabilities: np.ndarray, tokens: np.ndarray, in_turn: np.ndarray
) -> np.ndarray:
    """Return which tokens would have been less than half as likely in turn: bool (b m).

    probabilities: float64 (b m v), what each token was drawn from; tokens: int64 (b m),
    what was drawn; in_turn: float64 (b m), as in `minigen.details.Details`.
    """


def apart(cells, count, columns):
    """Return the first `count` cells that do not touch each other: a list of int.

    cells: list of positions of a grid with so many columns, the best first. Go through
    it in order, and take a cell unless one that was taken lies within one row and one
    column of it. Stop at `count` cells, or at the end of the list.
    """
