"""The reference itself: these are copies of a few kilobytes, which NumPy makes well."""

from __future__ import annotations

from minigen.ops.canvas.reference import full, place, twice, zeros

__all__ = ["full", "place", "twice", "zeros"]
