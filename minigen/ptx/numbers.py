"""The numbers of PTX in NumPy: types, and arithmetic that NumPy has in another way.

Exact: whole numbers, comparisons, conversions, and add, mul, fma, div, rcp and sqrt in
all roundings. ex2 is rounded from float64, where a GPU errs by a unit or two.

Source: NVIDIA, PTX ISA 8.7, section 9.7 (instructions).
"""

from __future__ import annotations

import numpy as np

B = np.dtype("?")
U8, U16, U32, U64 = (np.dtype(f"u{n}") for n in (1, 2, 4, 8))
S8, S16, S32, S64 = (np.dtype(f"i{n}") for n in (1, 2, 4, 8))
F16, F32, F64 = (np.dtype(f"f{n}") for n in (2, 4, 8))

TYPES = {"pred": B, "f16": F16, "f32": F32, "f64": F64, "b8": U8, "b16": U16}
TYPES |= {"b32": U32, "b64": U64, "u8": U8, "u16": U16, "u32": U32, "u64": U64}
TYPES |= {"s8": S8, "s16": S16, "s32": S32, "s64": S64}


def unsigned(dtype):
    """Return the type in which sums of the same bits wrap."""
    return np.dtype(f"u{dtype.itemsize}") if dtype.kind == "i" else dtype


def odd(x, y):
    """Return x + y of float64, rounded to odd.

    That is the sum where it is a float64, else of the two next to it the one whose last
    bit is 1: so a second rounding, to float32, still sees on which side the sum was.

    Source: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008).
    """
    s = x + y
    z = s - x
    error = (x - (s - z)) + (y - z)
    bits = s.view(S64)
    inexact = (error != 0) & np.isfinite(error) & (bits & 1 == 0)
    return np.where(inexact, bits + np.where((error > 0) == (s > 0), 1, -1), bits).view(
        F64
    )


def narrow(s, rounding):
    """Return float64, rounded to odd, as float32 in direction rz, rm or rp."""
    r = s.astype(F32)
    beyond = {"rz": abs(r) > abs(s), "rm": r > s, "rp": r < s}[rounding]
    end = {"rz": 0, "rm": -np.inf, "rp": np.inf}[rounding]
    return np.where(beyond, np.nextafter(r, F32.type(end)), r)


def fma(a, b, c):
    """Return a b + c of float32, rounded once."""
    product, c = a.astype(F64) * b, c.astype(F64)
    s = product + c
    r = s.astype(F32)
    # to round twice is wrong only where the first result is a tie of the second
    # rounding: half way between two float32, or anywhere among the subnormal ones
    tie = s.view(S64) & 0x1FFFFFFF == 0x10000000
    tie |= (abs(r) < 2.0**-125) & (s != 0)
    if tie.any():
        product, c = np.broadcast_arrays(product, c)
        r[tie] = odd(product[tie], c[tie]).astype(F32)
    return r


def flush(x):
    """Return x with zero for what is below the least normal number (.ftz)."""
    return np.where(abs(x) < 2.0**-126, np.copysign(F32.type(0), x), x)


def ex2(x):
    """Return two to the power x, nearer than a GPU's."""
    return np.exp2(x.astype(F64)).astype(F32)


def largest(a, b):
    """Return max of floats: of a number and a NaN the number, of zeros the positive."""
    zero = (a.view(f"u{a.itemsize}") & b.view(f"u{a.itemsize}")).view(a.dtype)
    return np.where(a == b, zero, np.fmax(a, b))


def smallest(a, b):
    """Return min of floats: of a number and a NaN the number, of zeros the negative."""
    zero = (a.view(f"u{a.itemsize}") | b.view(f"u{a.itemsize}")).view(a.dtype)
    return np.where(a == b, zero, np.fmin(a, b))


def divide(a, b):
    """Return a / b of whole numbers, towards zero; of b = 0 all bits set."""
    quotient = (a - np.fmod(a, b)) // b
    return np.where(b == 0, ~a.dtype.type(0), quotient)


def high(a, b):
    """Return the upper half of the product of two whole numbers."""
    if a.itemsize == 4:
        wide = np.dtype(f"{a.dtype.kind}8")
        return (a.astype(wide) * b.astype(wide) >> 32).astype(a.dtype)
    x, y, low = a.view(U64), b.view(U64), U64.type(0xFFFFFFFF)
    x0, x1, y0, y1 = x & low, x >> 32, y & low, y >> 32
    middle = (x0 * y0 >> 32) + (x1 * y0 & low) + (x0 * y1 & low)
    upper = x1 * y1 + (x1 * y0 >> 32) + (x0 * y1 >> 32) + (middle >> 32)
    if a.dtype.kind == "i":
        zero = U64.type(0)
        upper = upper - np.where(a < 0, y, zero) - np.where(b < 0, x, zero)
    return upper.view(a.dtype)


def shift(a, n, left):
    """Return a << n or a >> n, where n may be more than there are bits."""
    most = 8 * a.itemsize - 1
    by = np.minimum(n, most).astype(a.dtype)
    if a.dtype.kind == "i":
        return a >> by
    return np.where(n > most, a.dtype.type(0), a << by if left else a >> by)


def convert(x, to, rounding, saturate):
    """Return x as another type (cvt); floats that are too large become the largest."""
    if x.dtype.kind == "f" and rounding in WHOLE:
        x = WHOLE[rounding](x)
    if x.dtype.kind == "f" and to.kind in "iu":
        least, most = np.iinfo(to).min, np.iinfo(to).max
        low, beyond = x <= float(least), x >= float(most)
        y = np.where(low | beyond | np.isnan(x), 0, x).astype(to)
        y = np.where(low, to.type(least), np.where(beyond, to.type(most), y))
        wide = to.itemsize == 8 or x.itemsize == 8
        nan = np.array([1 << 8 * to.itemsize - 1 if wide else 0], unsigned(to)).view(to)
        return np.where(np.isnan(x), nan, y)
    if saturate and to.kind in "iu":
        x = np.clip(x, max(np.iinfo(to).min, np.iinfo(x.dtype).min), np.iinfo(to).max)
    y = (x.astype(F64) if x.dtype.kind in "iu" and to == F16 else x).astype(to)
    if saturate and to.kind == "f":
        y = np.where(y > 0, np.minimum(y, to.type(1)), to.type(0))
    return y


WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def reverse(x):
    """Return the bits in reverse order (brev)."""
    bits = np.unpackbits(x.view(U8).reshape(len(x), -1), axis=1, bitorder="little")
    return np.packbits(bits[:, ::-1], axis=1, bitorder="little").view(x.dtype)[:, 0]


def leading(x):
    """Return how many zeros 32 bits begin with, -1 where all are (bfind.shiftamt)."""
    return np.where(x == 0, -1, 32 - np.frexp(x.astype(F64))[1]).astype(U32)


def insert(a, b, position, length):
    """Return b with the lowest `length` bits of a from `position` on (bfi)."""
    one = b.dtype.type(1)
    mask = shift(one, length[:1], True) - one
    mask = shift(mask, position, True)
    return (b & ~mask) | (shift(a, position, True) & mask)


def ones(x):
    """Return how many bits of whole numbers are set (popc)."""
    bits = np.unpackbits(x.view(U8).reshape(len(x), -1), axis=1)
    return bits.sum(axis=1, dtype=U8)
