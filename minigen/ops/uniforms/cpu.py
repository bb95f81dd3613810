"""The reference itself: a step draws b m numbers, a few hundred at most.

NumPy makes them all in ten passes, in microseconds; there is nothing to gain.
"""

from __future__ import annotations

from minigen.ops.uniforms.reference import uniforms

__all__ = ["uniforms"]
