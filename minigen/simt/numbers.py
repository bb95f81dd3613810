"""Numba's numbers in Python: how each type is held, converted and computed with.

An integer of any width is a Python int within its range, a boolean a Python bool; a
floating or complex number is NumPy's of its type. Integers wrap where a register would;
a float becomes an integer as the PTX instruction `cvt.rzi` converts it: towards zero,
and to the nearest end of the range if it is outside. A division by zero is no error
(`error_model="numpy"`, what Numba compiles CUDA kernels with): of integers 0 results.

Types are Numba's, looked at by their attributes only, so this module imports NumPy.
"""

from __future__ import annotations

import numpy as np

from minigen.simt.maths import maths

FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}
COMPLEX = {64: np.complex64, 128: np.complex128}

_CLASSES = {"Integer": "int", "IntegerLiteral": "int", "Float": "float"}
_CLASSES |= {"Boolean": "bool", "BooleanLiteral": "bool", "Complex": "complex"}


def kind(t) -> str:
    """Return "int", "float", "bool" or "complex" for a Numba type, else ""."""
    return _CLASSES.get(type(t).__name__, "")


def bits(t) -> tuple[int, bool]:
    """Return the width of an integer type, and whether it is signed."""
    t = getattr(t, "literal_type", t)
    return t.bitwidth, t.signed


def limits(t) -> tuple[int, int]:
    """Return the least and the largest value of an integer type."""
    width, signed = bits(t)
    return (
        (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
    )


def scalar(t):
    """Return NumPy's scalar type of a number's type, or None."""
    what = kind(t)
    if what == "int":
        width, signed = bits(t)
        return getattr(np, f"{'' if signed else 'u'}int{width}")
    if what == "bool":
        return np.bool_
    if what in ("float", "complex"):
        return (FLOATS if what == "float" else COMPLEX)[t.bitwidth]
    return None


def wrap(value, width, signed):
    """Return an integer as a register of so many bits holds it."""
    value &= (1 << width) - 1
    return value - (1 << width) if signed and value >> width - 1 else value


def to_float32(value):
    """Return an integer as the nearest float32, rounded once."""
    if -(1 << 53) <= value <= 1 << 53:
        return np.float32(value)
    wide = np.int64 if value < 1 << 63 else np.uint64
    return wide(value).astype(np.float32)


def truncated(value, width, signed):
    """Return a floating number as an integer: `cvt.rzi`; 8 bits are cut from 16."""
    register = max(width, 16)
    if value != value:
        return wrap(1 << 63, width, signed) if register == 64 else 0
    lowest, highest = -(1 << register - 1), (1 << register - 1) - 1
    if not signed:
        lowest, highest = 0, (1 << register) - 1
    if value <= lowest:
        value = lowest
    elif value >= highest:
        value = highest
    return wrap(int(value), width, signed)


def floor_divide(a, b):
    """Return a // b of integers: 0 if b is 0."""
    return a // b if b else 0


def modulo(a, b):
    """Return a % b of integers: 0 if b is 0."""
    return a % b if b else 0


def shift_left(a, b, width, signed):
    """Return a << b: 0 for a distance that is negative or not less than the width."""
    return wrap(a << b, width, signed) if 0 <= b < width else 0


def shift_right(a, b, width):
    """Return a >> b: only the sign's bits for a distance outside of the width."""
    return a >> b if 0 <= b < width else -int(a < 0)


def float_divmod(x, y):
    """Return (x // y, x % y) of two floats of one type, as Numba's own code does."""
    one = type(x)(1)
    mod = np.fmod(x, y)
    if y == 0:
        return x / y, mod
    div = (x - mod) / y
    if mod != 0:
        if (y < 0) != (mod < 0):
            div, mod = div - one, mod + y
    else:
        mod = np.copysign(type(x)(0), y)
    if div != 0:
        # of nan too; the comparison is ordered, so nan goes the other way there
        whole = np.floor(div)
        if div - whole > 0.5:
            whole = whole + one
    else:
        whole = div * div * x / y
    return whole, mod


def integer_power(a, n, t):
    """Return a ** n for an integer a and n, wrapped; t: (width, signed)."""
    if n < 0:
        if a == 0:
            return wrap(1 << t[0] - 1, *t)
        if a not in (1, -1):
            return 0
        n = -n
    if n > 0x10000:
        return truncated(maths.pow(np.float64(a), np.float64(n)), *t)
    return wrap(pow(a, n, 1 << t[0]), *t)


def float_power(x, n):
    """Return x ** n for a float x and an integer n: products of its squares."""
    one = result = type(x)(1)
    left = abs(n)
    if left > 0x10000:
        return type(x)(maths.pow(x, np.float64(n)))
    while left:
        if left & 1:
            result = result * x
        left >>= 1
        x = x * x
    return one / result if n < 0 else result


def rounded(x, digits):
    """Return round(x, digits) of a float, computed in float64 as Numba's code does."""
    x = np.float64(x)
    if not np.isfinite(x):
        return x
    power = np.float64(10) ** abs(int(digits))
    more = np.float64(1)
    if digits > 22:
        power, more = np.float64(10) ** (int(digits) - 22), np.float64(1e22)
    y = x * power * more if digits >= 0 else x / power
    if not np.isfinite(y):
        return x
    # NumPy's rint takes halves to the even number
    z = np.rint(y)
    return z / more / power if digits >= 0 else z * power


def largest(values):
    """Return the maximum as a GPU computes it: of a number and a nan the number."""
    first, *others = values
    for value in others:
        if value > first or first != first:
            first = value
    return first


def smallest(values):
    """Return the minimum as a GPU computes it: of a number and a nan the number."""
    first, *others = values
    for value in others:
        if value < first or first != first:
            first = value
    return first


def holder(t):
    """Return the function that makes of NumPy's or Python's value the one held here.

    None if all values stay as they are.
    """
    what = kind(t)
    if what == "int":
        return int
    if what == "bool":
        return bool
    if what:
        return scalar(t)
    members = getattr(t, "types", None) or ()
    holders = [holder(member) for member in members]
    if type(t).__name__ in ("Tuple", "UniTuple") and any(holders):
        return lambda values: tuple(
            one(value) if one else value
            for one, value in zip(holders, values, strict=True)
        )
    return None


def fitter(t):
    """Return `holder(t)` for integers that may not fit: the mask of all lanes."""
    if kind(t) == "int":
        return lambda value: wrap(int(value), *bits(t))
    if not hasattr(t, "types"):
        return holder(t)
    return lambda values: tuple(
        fitter(one)(value) for one, value in zip(t.types, values, strict=True)
    )


def giver(t):
    """Return the function that makes of a value held here NumPy's, or None."""
    return scalar(t) if kind(t) in ("int", "bool") else None


def numbered(values) -> tuple:
    """Return a launch's arguments as Numba would type them: a float is a float64."""
    return tuple(np.float64(v) if type(v) is float else v for v in values)


def held(value):
    """Return an argument as a typed kernel holds it: its integers are Python's."""
    if isinstance(value, (np.integer, np.bool_)):
        return value.item()
    return tuple(map(held, value)) if type(value) is tuple else value
