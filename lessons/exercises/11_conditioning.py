"""Exercises of lesson 11; `python lessons/check.py 11` says which are solved."""

import numpy as np  # noqa: F401


def told(together, table, layer, groups):
    """Return shift, scale and gate of a layer under adaLN-group: float32 (b 3 d).

    together: float32 (b g d), where g is 3 `groups`: of group 0 shift, scale and gate,
    then those of group 1, and so on; table: float32 (3 d), of this layer; layer: its
    number, from 0 on. Groups are taken in turn.
    """


def saved(layers, width, groups):
    """Return how many weights adaLN-group saves, against adaLN: an int.

    adaLN has in each of `layers` layers a matrix from width to 3 width, and its bias.
    adaLN-group has `groups` of these, and in each layer a table (3 width).
    """


def row_of(y, x, side, positions):
    """Return the row of the position table for the token in row y and column x, both
    from 0 on, of a grid of side x side tokens: an int.

    positions: "trained" (the first token has row 0) or "released" (it has row 1).
    """
