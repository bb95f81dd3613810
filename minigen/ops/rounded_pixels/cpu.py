"""Pixels on the CPU: the reference itself, in which every rounding counts."""

from minigen.ops.rounded_pixels.reference import to_rounded_pixels

__all__ = ["to_rounded_pixels"]
