"""The functions of `cuda.fp16`: float16 in, float16 out, rounded once.

They are named as in CUDA's `cuda_fp16.h`: hadd, hfma, hsqrt ...; `_sat` clamps the
result to 0..1 (nan gives 0), `_relu` to at least 0; comparisons with an `u` are true
of nan too.
"""

from __future__ import annotations

import operator
from types import SimpleNamespace

import numpy as np


def _rounded(function):
    def half(*values):
        with np.errstate(all="ignore"):
            return np.float16(function(*(np.float64(v) for v in values)))

    return half


def _saturated(function):
    return _rounded(lambda *v: 0.0 if (y := function(*v)) != y else min(max(y, 0), 1))


def _with_nan(function):
    return _rounded(lambda x, y: np.nan if x != x or y != y else function(x, y))


def _unordered(compare):
    return lambda x, y: bool(compare(x, y) or x != x or y != y)


_ARITHMETIC = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "fma": lambda x, y, z: x * y + z,
}
_OTHERS = {
    "neg": operator.neg, "abs": abs, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x),
    "rcp": lambda x: 1 / x, "exp": np.exp, "exp2": np.exp2, "log": np.log,
    "exp10": lambda x: np.power(10.0, x), "log2": np.log2, "log10": np.log10,
    "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "floor": np.floor, "ceil": np.ceil,
    "trunc": np.trunc, "rint": np.rint, "max": np.fmax, "min": np.fmin,
}  # fmt: skip
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")

_TABLE = {f"h{name}": _rounded(f) for name, f in (_ARITHMETIC | _OTHERS).items()}
for _name, _function in _ARITHMETIC.items():
    _TABLE[f"h{_name}_rn"] = _rounded(_function)
    _TABLE[f"h{_name}_sat"] = _saturated(_function)
_TABLE["hfma_relu"] = _rounded(lambda x, y, z: np.maximum(x * y + z, 0))
for _name in ("max", "min"):
    _TABLE[f"h{_name}_nan"] = _with_nan(_OTHERS[_name])
for _name in _COMPARED:
    _compare = getattr(operator, _name)
    _TABLE[f"h{_name}"] = lambda x, y, compare=_compare: bool(compare(x, y))
    _TABLE[f"h{_name}u"] = _unordered(_compare)
_TABLE["hisnan"] = lambda x: int(x != x)
_TABLE["hisinf"] = lambda x: int(np.sign(x)) if np.isinf(x) else 0
for _name in ("float2half", "float2half_rn", "double2half", "int2half_rn"):
    _TABLE[_name] = np.float16
_TABLE["half2float"] = np.float32

halves = SimpleNamespace(**_TABLE)
