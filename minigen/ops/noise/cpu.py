"""The reference itself: NumPy makes a step's numbers in a few dozen passes."""

from __future__ import annotations

from minigen.ops.noise.reference import normals_at, uniforms_at

__all__ = ["normals_at", "uniforms_at"]
