"""How tests and lessons see what a model computes inside: by a watcher.

A watcher is a function watch(name, array), or None.
"""

from __future__ import annotations


def tell(watch, name, array):
    """Call the watcher, if there is one."""
    if watch is not None:
        watch(name, array)


def tell_linear(watch, name, ops, x, w):
    """Call the watcher, if there is one, with linear(x, w), computed for it alone.

    The hooks of the originals see a projection alone; here an op adds it to the
    residual stream at once, or it is split first.
    """
    if watch is not None:
        watch(name, ops.linear(x, w))
