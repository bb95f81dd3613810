"""A tree of host arrays, brought to where a backend's arrays live all at once.

A run reads dozens of small arrays of indices. To move each by itself takes longer than
to move all of them, so those of a dtype are laid one after the other in one array, and
each is a view of that. The views stay where they are, so a recorded run can read other
contents: written to the flat arrays, of another tree with the same shapes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Packed:
    """A tree, and its arrays laid flat: {name of a dtype: array (n)}."""

    tree: Any
    flats: dict[str, np.ndarray]

    def put(self, ops):
        """Return the tree with its arrays where the backend's live."""
        return self.views({name: ops.put(flat) for name, flat in self.flats.items()})

    def views(self, flats):
        """Return the tree with views of `flats`, which lie as ours do, in its place."""
        ends = dict.fromkeys(flats, 0)

        def view(array):
            name = array.dtype.name
            begin = ends[name]
            ends[name] += array.size
            return flats[name][begin : ends[name]].reshape(array.shape)

        return _with(self.tree, view, {})


def pack(tree) -> Packed:
    """Lay the arrays of a tree (dataclasses, tuples) flat; all else stays as it is.

    An array that occurs twice is laid once.
    """
    parts = {}

    def lay(array):
        parts.setdefault(array.dtype.name, []).append(array.reshape(-1))
        return array

    tree = _with(tree, lay, {})
    return Packed(tree, {name: np.concatenate(each) for name, each in parts.items()})


def _with(tree, change, seen):
    """Return a tree with every array changed, each of them once."""
    if isinstance(tree, np.ndarray):
        if id(tree) not in seen:
            seen[id(tree)] = change(tree)
        return seen[id(tree)]
    if is_dataclass(tree):
        parts = {
            field.name: _with(getattr(tree, field.name), change, seen)
            for field in fields(tree)
        }
        return replace(tree, **parts)
    if isinstance(tree, tuple):
        return tuple(_with(part, change, seen) for part in tree)
    return tree
