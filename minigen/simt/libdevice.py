"""The functions of `cuda.libdevice` and the bit functions of `cuda`, by name."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from minigen.simt.maths import maths


def _bits(x):
    """Return (value as a non-negative integer, number of bits)."""
    size = 8 * x.itemsize if isinstance(x, np.integer) else 64
    return int(x) & ((1 << size) - 1), size


def popc(x):
    """Return how many bits are set."""
    return _bits(x)[0].bit_count()


def brev(x):
    """Return the bits in reverse order."""
    value, size = _bits(x)
    back = int(f"{value:0{size}b}"[::-1], 2)
    return np.array(back, f"u{size // 8}").view(np.asarray(x).dtype)[()]


def clz(x):
    """Return how many zeros the bits begin with."""
    value, size = _bits(x)
    return size - value.bit_length()


def ffs(x):
    """Return the position of the lowest bit set, counting from 1, or 0 for none."""
    value, _ = _bits(x)
    return (value & -value).bit_length()


def fma(x, y, z):
    """Return x y + z. The product is exact; of float32 the sum is taken in float64."""
    kind = type(x)
    if kind is np.float32 or kind is np.float16:
        return kind(np.float64(x) * np.float64(y) + np.float64(z))
    return x * y + z


def cbrt(x):
    """Return the cube root, in the type of x."""
    y = np.cbrt(np.float64(x))
    return np.float32(y) if type(x) is np.float32 else y


def _single(function):
    return lambda *values: np.float32(function(*(np.float32(v) for v in values)))


_TABLE = {
    "popc": popc,
    "brev": brev,
    "clz": clz,
    "ffs": ffs,
    "fma": fma,
    "cbrt": cbrt,
    "cbrtf": lambda x: cbrt(np.float32(x)),
    "fmaf": _single(fma),
    "fmaf_rn": _single(fma),
    "int_as_float": lambda x: np.int32(x).view(np.float32),
    "float_as_int": lambda x: np.float32(x).view(np.int32),
    "longlong_as_double": lambda x: np.int64(x).view(np.float64),
    "double_as_longlong": lambda x: np.float64(x).view(np.int64),
    "int2float_rn": np.float32,
    "uint2float_rn": np.float32,
    "ll2float_rn": np.float32,
    "float2int_rn": lambda x: np.int32(np.rint(x)),
    "float2int_rz": lambda x: np.int32(np.trunc(x)),
    "float2int_rd": lambda x: np.int32(np.floor(x)),
    "float2int_ru": lambda x: np.int32(np.ceil(x)),
    "float2uint_rz": lambda x: np.uint32(np.trunc(x)),
    "double2float_rn": np.float32,
    "rsqrt": lambda x: np.float64(1 / math.sqrt(x)),
    "rsqrtf": _single(lambda x: 1 / np.sqrt(np.float64(x))),
    "fast_fdividef": _single(lambda x, y: x / y),
    "fdiv_rn": _single(lambda x, y: x / y),
    "fadd_rn": _single(lambda x, y: x + y),
    "fsub_rn": _single(lambda x, y: x - y),
    "fmul_rn": _single(lambda x, y: x * y),
    "frcp_rn": _single(lambda x: np.float32(1) / x),
    "fsqrt_rn": _single(np.sqrt),
    "frsqrt_rn": _single(lambda x: 1 / np.sqrt(np.float64(x))),
    "exp10f": _single(lambda x: np.power(10.0, np.float64(x))),
    "fast_exp10f": _single(lambda x: np.power(10.0, np.float64(x))),
    "exp2f": _single(lambda x: np.exp2(np.float64(x))),
    "cospif": _single(lambda x: np.cos(np.pi * np.float64(x))),
    "fabsf": _single(np.fabs),
    "fmaxf": _single(np.fmax),
    "fminf": _single(np.fmin),
    "fmax": np.fmax,
    "fmin": np.fmin,
    "rintf": _single(np.rint),
    "nearbyintf": _single(np.rint),
    "saturatef": _single(lambda x: np.fmin(np.fmax(x, 0), 1)),
    "mulhi": lambda x, y: np.int32((int(x) * int(y)) >> 32),
    "umulhi": lambda x, y: np.uint32((int(x) * int(y)) >> 32),
    "mul64hi": lambda x, y: np.int64((int(x) * int(y)) >> 64),
    "umul64hi": lambda x, y: np.uint64((int(x) * int(y)) >> 64),
}
for _name in ("exp", "log", "sin", "cos", "tan", "pow", "sqrt", "tanh", "erf", "erfc",
              "log2", "log10", "log1p", "expm1", "floor", "ceil", "trunc", "sinh",
              "cosh", "atan", "atan2", "asin", "acos", "fmod", "copysign", "hypot",
              "tgamma", "lgamma"):  # fmt: skip
    _function = getattr(maths, "gamma" if _name == "tgamma" else _name)
    _TABLE.setdefault(_name, _function)
    _TABLE[_name + "f"] = _single(_function)
for _name in ("exp", "log", "sin", "cos", "tan", "pow", "log2", "log10"):
    _TABLE[f"fast_{_name}f"] = _TABLE[_name + "f"]

table = SimpleNamespace(**_TABLE)
