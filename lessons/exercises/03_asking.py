"""Exercises of lesson 03; `python lessons/check.py 03` says which are solved."""

import numpy as np  # noqa: F401


def heard(scores, values):
    """Return what a query takes from the cache: a float array (d).

    scores: float32 (n), of the query with each of n keys, already scaled; values:
    float32 (n d). The shares of the values are in proportion to e^score, and add up
    to 1.
    """


def cache_bytes(layers, width, tokens):
    """Return the bytes of the keys and values that an ARPG keeps (an int), in float32.

    layers: an even int; half of them read, and each of these keeps a key and a value of
    `width` numbers for each token. The other half answer, and share one key and one
    value for each token. tokens: how many have been read, the class among them.
    """


def training_rows(order):
    """Return what a training pass over n tokens reads and asks: two int arrays (n).

    order: int64 (n), raster positions, the first to be drawn first. The first array
    holds the rows of the table of positions of what is read: row 0 for the class, row
    1 + p for the token at position p; the last token is not read. The second holds the
    rows that are asked for: question t asks for the t-th position of the order.
    """
