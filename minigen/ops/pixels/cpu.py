"""Pixel conversions on the CPU: the reference itself.

Every rounding counts here, and a compiled kernel fuses the product and the sum into
one: some pixels would differ by one. An image is converted once, at the end of a run,
so there is no time to win either.
"""

from minigen.ops.pixels.reference import from_pixels, to_pixels

__all__ = ["from_pixels", "to_pixels"]
