"""Exercises of lesson 00; `python lessons/check.py 00` says which are solved."""

import numpy as np  # noqa: F401


def surprise(p, tokens):
    """Return log2(1 / p) of the tokens that were drawn, in bits: a float array (m).

    p: float32 (m v), the probabilities that each token was drawn from; tokens: int64
    (m), numbers of codes, each of a probability above 0.
    """


def drawn_at(canvases):
    """Return the step that drew each position: an int array (n).

    canvases: int64 (s n), the canvas after each of s steps, -1 where the token is not
    known. Every position is known after the last step.
    """


def draw(p, u):
    """Return the tokens that uniform numbers pick: an int array (m).

    p: float32 (m v), rows of probabilities; u: float32 (m), 0 <= u < 1. A token is the
    first code at which the sum of the probabilities up to it, itself included, is
    larger than u.
    """
