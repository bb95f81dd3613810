"""The `math` of a kernel: a float32 in, a float32 out.

Python's own functions return Python floats, which have 64 bits. A kernel compiled for
a GPU computes math.exp of a float32 in float32. Here the result is computed in float64
and rounded once, so it is the float32 nearest to the true value, or next to it.
"""

from __future__ import annotations

import math

import numpy as np

# how NumPy calls them; needed where Python raises an error and a GPU returns inf or nan
_NUMPY = {"pow": "power", "atan2": "arctan2", "acos": "arccos", "asin": "arcsin"}
_NUMPY |= {"atan": "arctan", "acosh": "arccosh", "asinh": "arcsinh"}
_NUMPY |= {"atanh": "arctanh"}
_SPECIAL = {"gamma": math.inf, "lgamma": math.inf}
_SAME = {"isnan", "isinf", "isfinite", "pi", "e", "inf", "nan", "tau", "gcd"}
# a GPU rounds to an integral number, but keeps it a float
_WHOLE = {"ceil": np.ceil, "floor": np.floor, "trunc": np.trunc}


def _scaled(x, power):
    return float(np.ldexp(np.float64(x), int(power)))


def _rounding(name):
    function = _scaled if name == "ldexp" else getattr(math, name)

    def rounded(x, *more):
        try:
            y = function(x, *more)
        except (ValueError, OverflowError):
            if name in _SPECIAL:
                y = _SPECIAL[name]
            else:
                same = getattr(np, _NUMPY.get(name, name))
                y = same(*(np.float64(v) for v in (x, *more)))
        kind = type(x)
        if kind is np.float32 or kind is np.float16:
            widest = kind
            for v in more:
                if type(v) is np.float64:
                    return np.float64(y)
                if type(v) is np.float32:
                    widest = np.float32
            return widest(y)
        return np.float64(y) if kind is np.float64 else y

    rounded.__name__ = name
    return rounded


class Maths:
    """The stand-in for the module `math`."""


for _name in dir(math):
    if _name.startswith("_"):
        continue
    if _name in _SAME:
        setattr(Maths, _name, getattr(math, _name))
    elif _name in _WHOLE:
        setattr(Maths, _name, staticmethod(_WHOLE[_name]))
    elif callable(getattr(math, _name)):
        setattr(Maths, _name, staticmethod(_rounding(_name)))

maths = Maths()
