"""Move a tree of host arrays to the device of a backend, all at once.

A run reads dozens of small arrays of indices. One transfer of all is faster than a
transfer of each. So all arrays of a dtype are concatenated in one flat array, and each
is a view of it. The addresses of the views are fixed: a recorded run can read another
tree of the same shapes, written to the same flat arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Packed:
    """A tree, and its arrays in flat form: {name of a dtype: array (n)}."""

    tree: Any
    flats: dict[str, np.ndarray]

    def put(self, ops):
        """Return the tree with its arrays on the device of the backend."""
        return self.views({name: ops.put(flat) for name, flat in self.flats.items()})

    def views(self, flats):
        """Return the tree with each array replaced by a view into `flats`.

        flats: of the same sizes as ours. `pack` walked through the tree in this order.
        """
        ends = dict.fromkeys(flats, 0)

        def view(array):
            name = array.dtype.name
            begin = ends[name]
            ends[name] += array.size
            return flats[name][begin : ends[name]].reshape(array.shape)

        return _map_arrays(self.tree, view, {})


def pack(tree) -> Packed:
    """Concatenate the arrays of a tree of dataclasses and tuples, by dtype.

    All other values stay as they are, lists and dictionaries too. An array that occurs
    twice is stored once.
    """
    parts = {}

    def lay(array):
        parts.setdefault(array.dtype.name, []).append(array.reshape(-1))
        return array

    tree = _map_arrays(tree, lay, {})
    return Packed(tree, {name: np.concatenate(each) for name, each in parts.items()})


def _map_arrays(tree, change, seen):
    """Return the tree with change(array) for every array, called once for each."""
    if isinstance(tree, np.ndarray):
        if id(tree) not in seen:
            seen[id(tree)] = change(tree)
        return seen[id(tree)]
    if is_dataclass(tree):
        parts = {
            field.name: _map_arrays(getattr(tree, field.name), change, seen)
            for field in fields(tree)
        }
        return replace(tree, **parts)
    if isinstance(tree, tuple):
        return tuple(_map_arrays(part, change, seen) for part in tree)
    return tree
