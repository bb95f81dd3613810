"""The reference itself: it asks for all numbers at once, and NumPy is as fast."""

from minigen.ops.finite.reference import check_finite

__all__ = ["check_finite"]
