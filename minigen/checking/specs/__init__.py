"""For each function of the op table: what it may be given, and how far off it may be.

spec = SPECS["rms_norm"]
case = spec.draw(FULL).example()          # {"x": ..., "w": ..., "eps": ...}
off = errors(spec, case, rms_norm(**case))  # <= 4 everywhere, or it is wrong
"""

from __future__ import annotations

from minigen.checking.specs import (
    draws,
    elementwise,
    images,
    loop,
    masked,
    mixtures,
    normals,
    scans,
    states,
    steps,
    tokens,
)
from minigen.checking.specs.spec import Spec, errors, expected, wide, worst

_MODULES = tokens, draws, loop, images, states, scans, steps, masked, mixtures, normals
_MODULES += (elementwise,)

SPECS = {spec.name: spec for module in _MODULES for spec in module.SPECS}
"""Every function of `minigen.backends.OPS` by its name."""

__all__ = ["SPECS", "Spec", "errors", "expected", "wide", "worst"]
