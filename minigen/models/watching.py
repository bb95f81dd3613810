"""How a model tells what it computes on its way: tests and lessons look inside so.

A watcher is a function of a name and an array, or None for nobody.
"""

from __future__ import annotations


def tell(watch, name, array):
    """Tell a watcher, if there is one, what was computed."""
    if watch is not None:
        watch(name, array)


def tell_linear(watch, name, ops, x, w):
    """Tell of linear(x, w), which an op has computed together with something else.

    The originals' hooks see a projection before it is rotated, or added to the rest.
    """
    if watch is not None:
        watch(name, ops.linear(x, w))
