"""The numbers of PTX in NumPy: types, and arithmetic that NumPy has in another way.

Exact: whole numbers, comparisons, conversions, and add, mul, fma, div, rcp and sqrt in
all roundings. ex2 is rounded from float64, where a GPU errs by a unit or two.

Source: NVIDIA, PTX ISA 8.7, section 9.7 (instructions).
"""

from __future__ import annotations

import math
from fractions import Fraction

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


def directed(r, error, rounding):
    """Return r + error, whose nearest float64 is r, in direction rz, rm or rp."""
    inward = np.sign(error) * np.sign(r) < 0
    beyond = {"rz": inward, "rm": error < 0, "rp": error > 0}[rounding]
    end = {"rz": 0, "rm": -np.inf, "rp": np.inf}[rounding]
    return np.where(beyond, np.nextafter(r, end), r)


def two_sum(x, y):
    """Return x + y of float64, and what is missing from it."""
    s = x + y
    z = s - x
    return s, (x - (s - z)) + (y - z)


def two_product(x, y):
    """Return x y of float64, and what is missing from it (Dekker, 1971)."""
    p = x * y
    (x1, x0), (y1, y0) = _halves(x), _halves(y)
    return p, ((x1 * y1 - p) + x1 * y0 + x0 * y1) + x0 * y0


def _halves(x):
    # two numbers of 26 bits whose sum is x
    t = x * 134217729.0
    high = t - (t - x)
    return high, x - high


def add64(x, y, rounding):
    """Return x + y of float64 in direction rz, rm or rp."""
    return directed(*two_sum(x, y), rounding)


def multiply64(x, y, rounding):
    """Return x y of float64 in direction rz, rm or rp."""
    return directed(*two_product(x, y), rounding)


def divide64(x, y, rounding):
    """Return x / y of float64 in direction rz, rm or rp."""
    q = x / y
    return directed(q, fma64(-q, y, x) * np.sign(y), rounding)


def root64(x, rounding):
    """Return the square root of float64 in direction rz, rm or rp."""
    r = np.sqrt(x)
    return directed(r, fma64(-r, r, x), rounding)


def fma64(a, b, c, rounding=None):
    """Return a b + c of float64, rounded once.

    Source: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008).
    What is too large or too small for their proof is computed as a fraction.
    """
    a, b, c = np.broadcast_arrays(a, b, c)
    high, low = two_product(a, b)
    u, v = two_sum(c, low)
    s, t = two_sum(high, u)
    rest = odd(t, v)
    r = s + rest
    if rounding:
        r = directed(r, two_sum(s, rest)[1], rounding)
    size = abs(high)
    safe = (size < 2.0**1000) & (abs(c) < 2.0**1000) & (abs(a) < 2.0**990)
    safe &= (abs(b) < 2.0**990) & ((size > 2.0**-900) | (a == 0) | (b == 0))
    plain = a * b + c
    # of infinities and NaN, and of a product that is nothing, the plain sum is right
    r = np.where((a == 0) | (b == 0) | ~np.isfinite(plain), plain, r)
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    for n in np.flatnonzero(~safe & finite):
        r[n] = _fraction(a[n], b[n], c[n], rounding)
    return r


def _fraction(a, b, c, rounding):
    # a fraction becomes a float that is rounded once
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return a * b + c
    try:
        r = float(exact)
    except OverflowError:
        r = math.copysign(math.inf, exact)
    if not rounding or math.isinf(r):
        return r
    return directed(np.float64(r), float(np.sign(exact - Fraction(r))), rounding)


def fma(a, b, c):
    """Return a b + c of float32, rounded once."""
    product, c = a.astype(F64) * b, c.astype(F64)
    s = product + c
    r = s.astype(F32)
    # to round twice is wrong only where the first result is a tie of the second
    # rounding: half way between two float32, or anywhere among the subnormal ones
    tie, small = s.view(S64) & 0x1FFFFFFF == 0x10000000, abs(r) < 2.0**-125
    if np.count_nonzero(small):
        tie |= small & (s != 0)
    if np.count_nonzero(tie):
        product, c = np.broadcast_arrays(product, c)
        r[tie] = odd(product[tie], c[tie]).astype(F32)
    return r


def flush(x):
    """Return x with zero for what is below the least normal number (.ftz)."""
    return np.where(abs(x) < np.finfo(x.dtype).tiny, np.copysign(x.dtype.type(0), x), x)


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
    if rounding in ("rz", "rm", "rp"):
        return narrow(x.astype(F64), rounding)
    y = (x.astype(F64) if x.dtype.kind in "iu" and to == F16 else x).astype(to)
    if saturate and to.kind == "f":
        y = np.where(y > 0, np.minimum(y, to.type(1)), to.type(0))
    return y


WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def reverse(x):
    """Return the bits in reverse order (brev)."""
    bits = np.unpackbits(x.view(U8).reshape(len(x), -1), axis=1, bitorder="little")
    return np.packbits(bits[:, ::-1], axis=1, bitorder="little").view(x.dtype)[:, 0]


def insert(a, b, position, length):
    """Return b with the lowest `length` bits of a from `position` on (bfi)."""
    one = b.dtype.type(1)
    mask = shift(one, length[:1], True) - one
    mask = shift(mask, position, True)
    return (b & ~mask) | (shift(a, position, True) & mask)


def ones(x):
    """Return how many bits of whole numbers are set (popc)."""
    bits = np.unpackbits(np.ascontiguousarray(x).view(U8).reshape(len(x), -1), axis=1)
    return bits.sum(axis=1, dtype=U32)


def zeros(x):
    """Return how many zeros the bits begin with (clz)."""
    return (U32.type(8 * x.itemsize - 1) - top(x)).astype(U32)


def leading(x):
    """Return the shift that brings the highest bit up (bfind); of 0, 2**32 - 1."""
    return np.where(x == 0, U32.type(0xFFFFFFFF), zeros(x))


def top(x):
    """Return the place of the highest bit that is set, 2**32 - 1 if none is (bfind)."""
    bits = np.unpackbits(x[:, None].view(U8)[:, ::-1], axis=1)
    place = 8 * x.itemsize - 1 - np.argmax(bits, axis=1)
    return np.where(bits.any(axis=1), place, -1).astype(U32)


def extract(a, position, length):
    """Return `length` bits of a from `position` on, signed if a is (bfe)."""
    bits = 8 * a.itemsize
    position, length = position.astype(S64) & 255, length.astype(S64) & 255
    wide = a.astype(S64 if a.dtype.kind == "i" else U64)
    end = np.minimum(position + length, bits)
    size = end - position
    value = wide << np.clip(64 - end, 0, 63).astype(wide.dtype)
    value = value >> np.clip(64 - size, 0, 63).astype(wide.dtype)
    nothing = (length == 0) | (position >= bits)
    sign = wide >> wide.dtype.type(63) if a.dtype.kind == "i" else wide * 0
    return np.where(nothing, np.where(length == 0, 0, sign), value).astype(a.dtype)


def funnel(a, b, n, left, wrap):
    """Return the upper or lower 32 bits of b and a side by side, shifted (shf)."""
    n = n.astype(U64) & U64.type(31) if wrap else np.minimum(n, 32).astype(U64)
    both = b.astype(U64) << U64.type(32) | a
    return ((both << n >> U64.type(32)) if left else both >> n).astype(U32)


def permute(a, b, selector):
    """Return four bytes chosen from those of a and b (prmt)."""
    both = b.astype(U64) << U64.type(32) | a
    found = np.zeros(np.broadcast_shapes(both.shape, selector.shape), U32)
    for n in range(4):
        choice = (selector >> U32.type(4 * n)).astype(U64)
        byte = (both >> (choice & U64.type(7)) * U64.type(8)).astype(U8)
        byte = np.where(choice & U64.type(8), (byte.view(S8) >> 7).view(U8), byte)
        found |= byte.astype(U32) << U32.type(8 * n)
    return found


def dot(a, b, c, signed, way):
    """Return c and the products of the parts of a and b (dp4a; dp2a: lo, hi).

    way: "four", bytes by bytes, else the two halves of a by the lower or upper bytes of
    b. signed: whether a is, and whether b is.
    """
    count = 4 if way == "four" else 2
    total, first = c.astype(S64), 2 if way == "hi" else 0
    for n in range(count):
        x = a >> U32.type(32 // count * n) & U32.type((1 << 32 // count) - 1)
        y = b >> U32.type(8 * (first + n)) & U32.type(255)
        x, y = x.astype(S64), y.astype(S64)
        limit = 1 << 32 // count - 1
        x = np.where(signed[0] & (x >= limit), x - 2 * limit, x)
        y = np.where(signed[1] & (y >= 128), y - 256, y)
        total = total + x * y
    return total.astype(U32)


def carried(a, b, carry):
    """Return a + b + carry of unsigned numbers, and the carry out of it."""
    s = a + b
    total = s + carry.astype(a.dtype)
    return total, ((s < a) | (total < s)).astype(U32)


def borrowed(a, b, borrow):
    """Return a - b - borrow of unsigned numbers, and whether that is below zero."""
    d = a - b
    total = d - borrow.astype(a.dtype)
    return total, ((a < b) | (d < borrow)).astype(U32)


def short(x):
    """Return the upper half of float64, as the approximate rcp and rsqrt give it."""
    return (x.view(U64) & U64.type(0xFFFFFFFF00000000)).view(F64)


def is_nan(a, b):
    """Return whether one of two floats is none."""
    return np.isnan(a) | np.isnan(b)


def special(function):
    """Return a function of NumPy taken in float64 and rounded to float32."""
    return lambda x: function(x.astype(F64)).astype(F32)


ex2, lg2, sine, cosine, tanh = map(special, (np.exp2, np.log2, np.sin, np.cos, np.tanh))
rsqrt = special(lambda x: 1 / np.sqrt(x))
