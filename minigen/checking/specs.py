"""For each function of the op table: what it may be given, and how far off it may be.

spec = SPECS["rms_norm"]
case = cases(spec, FULL).example()          # {"x": ..., "w": ..., "eps": ...}
off = errors(spec, case, rms_norm(**case))  # <= 4 everywhere, or it is wrong

(`cases` and FULL are those of `minigen.checking.strategies`.)
"""

from __future__ import annotations

from importlib import import_module

from minigen.backends import OPS
from minigen.checking.spec import Spec, errors, expected, worst

SPECS = {
    spec.name: spec
    for op in OPS
    for spec in import_module(f"minigen.ops.{op}.spec").SPECS
}
"""Every function of `minigen.backends.OPS` by its name."""

__all__ = ["SPECS", "Spec", "errors", "expected", "worst"]
