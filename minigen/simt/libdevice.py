"""The functions of `cuda.libdevice` and the bit functions of `cuda`, by name."""

from __future__ import annotations

import math
from fractions import Fraction
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np

from minigen.simt.maths import maths
from minigen.simt.numbers import truncated, wrap


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


def _exactly(name, x, y=0, z=0):
    # what a rounded operation of numbers (fractions) is before it is rounded
    if name in ("rcp", "div"):
        return 1 / x if name == "rcp" else x / y
    return {"add": x + y, "sub": x - y, "mul": x * y, "fma": x * y + z}[name]


def _toward(near, exact, mode, kind):
    """Return a float near an exact number, or the next one: as a mode rounds it.

    exact: a comparison of a float with the exact number: -1, 0 or 1.
    """
    off = exact(near)
    if off == 0 or mode == "rn":
        return near
    down = mode == "rd" or mode == "rz" and near > 0
    if down and off > 0:
        return np.nextafter(near, kind(-np.inf))
    return np.nextafter(near, kind(np.inf)) if not down and off < 0 else near


def directed(name, mode, kind):
    """Return an operation that rounds to nearest, to zero, down or up (rn rz rd ru)."""

    def operation(*values):
        values = [kind(v) for v in values]
        wide = [np.float64(v) for v in values]
        x, y, z = (*wide, np.float64(0), np.float64(0))[:3]
        near = kind(np.sqrt(x) if name == "sqrt" else _exactly(name, x, y, z))
        if not np.isfinite(near) or not all(map(np.isfinite, values)):
            return near
        parts = [Fraction(float(v)) for v in values]
        if name == "sqrt":

            def compare(v):
                square = Fraction(float(v)) ** 2
                return (square > parts[0]) - (square < parts[0])
        else:
            exact = _exactly(name, *parts)

            def compare(v):
                return (Fraction(float(v)) > exact) - (Fraction(float(v)) < exact)

        return _toward(near, compare, mode, kind)

    return operation


_TO_WHOLE = {"rn": np.rint, "rz": np.trunc, "rd": np.floor, "ru": np.ceil}


def to_integer(mode, width, signed):
    """Return the conversion of a float to an integer that rounds in a mode."""
    kind = getattr(np, f"{'' if signed else 'u'}int{width}")
    return lambda x: kind(truncated(_TO_WHOLE[mode](np.float64(x)), width, signed))


def to_float(mode, kind):
    """Return the conversion of a number to a float that rounds in a mode."""

    def convert(value):
        near = kind(value)
        if isinstance(value, np.floating) and not np.isfinite(value):
            return near
        exact = Fraction(value.item() if hasattr(value, "item") else value)
        if not np.isfinite(near):
            return near

        def compare(v):
            return (Fraction(float(v)) > exact) - (Fraction(float(v)) < exact)

        return _toward(near, compare, mode, kind)

    return convert


def byte_perm(x, y, selector):
    """Return four of the eight bytes of y and x, as the selector's digits say."""
    both, selector = int(x) & 0xFFFFFFFF | (int(y) & 0xFFFFFFFF) << 32, int(selector)
    picked = [both >> 8 * (selector >> 4 * i & 7) & 255 for i in range(4)]
    return np.int32(wrap(sum(byte << 8 * i for i, byte in enumerate(picked)), 32, True))


def _frexp(kind):
    def split(x):
        part, power = np.frexp(kind(x))
        return kind(part), np.int32(power)

    return split


def _modf(kind):
    return lambda x: tuple(map(kind, np.modf(kind(x))))


def _remquo(kind):
    def divide(x, y):
        rest = math.remainder(x, y)
        quotient = round((float(x) - rest) / float(y))
        return kind(rest), np.int32(math.copysign(abs(quotient) & 7, quotient))

    return divide


def _pair(kind, scale=1.0):
    def both(x):
        angle = np.float64(x) * scale
        return kind(np.sin(angle)), kind(np.cos(angle))

    return both


def _normal_inverse(p):
    if 0 < p < 1:
        return NormalDist().inv_cdf(float(p))
    return math.nan if p != p or not 0 <= p <= 1 else math.inf if p else -math.inf


def _logb(x):
    if x == 0 or not np.isfinite(x):
        return -np.inf if x == 0 else abs(x)
    return float(np.frexp(x)[1] - 1)


def _away(x):
    # halves go away from 0
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def _single(function):
    return lambda *values: np.float32(function(*(np.float32(v) for v in values)))


def exp10(x):
    """Return 10 to the power of x."""
    return np.power(10.0, x)


def _low24(x, signed):
    return wrap(int(x), 24, signed)


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
_DOUBLES = {
    "acosh": np.arccosh, "asinh": np.arcsinh, "atanh": np.arctanh, "exp10": exp10,
    "exp2": np.exp2, "fabs": np.fabs, "fdim": lambda x, y: np.fmax(x - y, 0),
    "cospi": lambda x: np.cos(np.pi * np.fmod(x, 2)),
    "sinpi": lambda x: np.sin(np.pi * np.fmod(x, 2)),
    "erfinv": lambda x: _normal_inverse((x + 1) / 2) / math.sqrt(2),
    "erfcinv": lambda x: -_normal_inverse(x / 2) / math.sqrt(2),
    "erfcx": lambda x: math.exp(x * x) * math.erfc(x),
    "normcdf": lambda x: math.erfc(-x / math.sqrt(2)) / 2,
    "normcdfinv": _normal_inverse, "logb": _logb, "rcbrt": lambda x: 1 / np.cbrt(x),
    "nearbyint": np.rint, "rint": np.rint, "round": _away,
    "remainder": lambda x, y: math.remainder(x, y) if y else math.nan,
    "ldexp": lambda x, n: np.ldexp(x, int(n)),
    "scalbn": lambda x, n: np.ldexp(x, int(n)),
    "powi": lambda x, n: np.power(x, np.float64(n)),
}  # fmt: skip
for _name, _function in _DOUBLES.items():
    _TABLE[_name] = lambda *v, f=_function: np.float64(f(*map(np.float64, v)))
    _TABLE.setdefault(
        _name + "f", lambda *v, f=_function: np.float32(f(*map(np.float64, v)))
    )
for _kind, _letter, _end in ((np.float64, "d", ""), (np.float32, "f", "f")):
    for _mode in _TO_WHOLE:
        for _name in ("add", "sub", "mul", "div", "rcp", "sqrt"):
            if (_letter, _name) == ("d", "sub"):
                # CUDA has none
                continue
            _named = f"{_letter}{_name}_{_mode}"
            _TABLE.setdefault(_named, directed(_name, _mode, _kind))
        _TABLE[f"fma{_end}_{_mode}"] = directed("fma", _mode, _kind)
        _from, _to = ("double", "float")[_end == "f"], ("double", "float")[_end == "f"]
        for _whole, _width, _signed in (
            ("int", 32, True), ("uint", 32, False), ("ll", 64, True), ("ull", 64, False)
        ):  # fmt: skip
            _TABLE[f"{_from}2{_whole}_{_mode}"] = to_integer(_mode, _width, _signed)
            # a double holds every integer of 32 bits
            if _mode == "rn" or (_to, _width) != ("double", 32):
                _TABLE[f"{_whole}2{_to}_{_mode}"] = to_float(_mode, _kind)
        _TABLE[f"double2float_{_mode}"] = to_float(_mode, np.float32)
    _TABLE |= {
        f"frexp{_end}": _frexp(_kind), f"modf{_end}": _modf(_kind),
        f"remquo{_end}": _remquo(_kind), f"sincos{_end}": _pair(_kind),
        f"sincospi{_end}": _pair(_kind, np.pi), f"nextafter{_end}": np.nextafter,
        f"ilogb{_end}": lambda x: np.int32(_logb(x)),
        f"llrint{_end}": to_integer("rn", 64, True),
        f"llround{_end}": lambda x: np.int64(truncated(_away(x), 64, True)),
        f"signbit{_letter}": lambda x: np.int32(np.signbit(x)),
        f"isinf{_letter}": lambda x: np.int32(np.isinf(x)),
        f"isnan{_letter}": lambda x: np.int32(np.isnan(x)),
    }  # fmt: skip
_TABLE["fast_sincosf"] = _TABLE["sincosf"]
_TABLE["isfinited"] = _TABLE["finitef"] = lambda x: np.int32(np.isfinite(x))
for _name in ("popc", "brev", "clz", "ffs"):
    _TABLE[_name + "ll"] = _TABLE[_name]


def _int32(value):
    return np.int32(wrap(int(value), 32, True))


def _uint32(value):
    return np.uint32(wrap(int(value), 32, False))


_TABLE |= {
    "abs": abs, "llabs": abs, "max": max, "min": min, "llmax": max, "llmin": min,
    "umax": max, "umin": min, "ullmax": max, "ullmin": min, "byte_perm": byte_perm,
    "mul24": lambda x, y: _int32(_low24(x, True) * _low24(y, True)),
    "umul24": lambda x, y: _uint32(_low24(x, False) * _low24(y, False)),
    "sad": lambda x, y, z: _uint32(abs(int(x) - int(y)) + int(z)),
    "usad": lambda x, y, z: _uint32(abs(int(x) - int(y)) + int(z)),
    "hadd": lambda x, y: np.int32(int(x) + int(y) >> 1),
    "rhadd": lambda x, y: np.int32(int(x) + int(y) + 1 >> 1),
    "uhadd": lambda x, y: np.uint32(int(x) + int(y) >> 1),
    "urhadd": lambda x, y: np.uint32(int(x) + int(y) + 1 >> 1),
    "double2hiint": lambda x: np.int32(np.float64(x).view(np.int64) >> 32),
    "double2loint": lambda x: _int32(np.float64(x).view(np.int64)),
    "hiloint2double": lambda high, low: np.int64(
        int(high) << 32 | int(low) & 0xFFFFFFFF
    ).view(np.float64),
    "float2half_rn": lambda x: np.float16(x).view(np.int16),
    "half2float": lambda x: np.int16(x).view(np.float16).astype(np.float32),
}  # fmt: skip

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
