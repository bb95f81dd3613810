"""The emulator's arithmetic against Python's fractions and whole numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest

from minigen.ptx import numbers
from minigen.ptx.numbers import F16, F32, S8, S32, S64, U32, U64

RNG = np.random.default_rng(0)


def floats(n):
    """Return float32 of all kinds: any bits, and few bits set, so that ties occur."""
    any_ = RNG.integers(0, 2**32, n, dtype=U32).view(F32)
    few = (RNG.integers(-64, 64, n) * 2.0 ** RNG.integers(-30, 30, n)).astype(F32)
    near = (1 + RNG.integers(-8, 8, n) * 2.0**-23).astype(F32)
    tiny = RNG.integers(0, 2**24, n, dtype=U32).view(F32)
    return RNG.permutation(np.concatenate([any_, few, near, tiny]))


def exact(value, rounding):
    """Return a fraction as float32, rounded in a direction."""
    if value == 0:
        return None
    sign, value = (-1 if value < 0 else 1), abs(value)
    exponent = max(
        math.floor(math.log2(value.numerator) - math.log2(value.denominator)) - 1, -126
    )
    while value >= Fraction(2) ** (exponent + 1):
        exponent += 1
    unit = Fraction(2) ** (exponent - 23)
    down, rest = divmod(value, unit)
    up = {
        "rn": rest * 2 > unit or (rest * 2 == unit and down % 2),
        "rz": False,
        "rm": sign < 0 and rest > 0,
        "rp": sign > 0 and rest > 0,
    }[rounding]
    whole = (down + bool(up)) * unit
    if whole >= Fraction(2) ** 128:
        away = {"rn": True, "rz": False, "rm": sign < 0, "rp": sign > 0}[rounding]
        return F32.type(sign * np.inf) if away else F32.type(sign) * np.finfo(F32).max
    return F32.type(sign) * F32.type(float(whole))


@pytest.mark.parametrize("rounding", ["rn", "rz", "rm", "rp"])
def test_fma_is_rounded_once(rounding):
    a, b, c = floats(1500), floats(1500), floats(1500)
    with np.errstate(all="ignore"):
        c[::3] = -(a * b)[::3]
        if rounding == "rn":
            found = numbers.fma(a, b, c)
        else:
            found = numbers.narrow(
                numbers.odd(a.astype(float) * b, c.astype(float)), rounding
            )
    checked = 0
    for x, y, z, r in zip(a, b, c, found, strict=True):
        if np.isfinite([x, y, z]).all():
            wanted = exact(
                Fraction(float(x)) * Fraction(float(y)) + Fraction(float(z)), rounding
            )
            if wanted is not None:
                checked += 1
                assert r == wanted, (x, y, z, r, wanted)
    assert checked > 3000


def test_sums_in_other_directions():
    a, b = floats(1500), floats(1500)
    for rounding in ("rz", "rm", "rp"):
        with np.errstate(all="ignore"):
            found = numbers.narrow(
                numbers.odd(a.astype(float), b.astype(float)), rounding
            )
        for x, y, r in zip(a, b, found, strict=True):
            if np.isfinite([x, y]).all():
                wanted = exact(Fraction(float(x)) + Fraction(float(y)), rounding)
                assert wanted is None or r == wanted


def whole(n, dtype):
    info = np.iinfo(dtype)
    some = [0, 1, 2, info.max, info.max - 1, info.min, info.min + 1]
    if info.min < 0:
        some += [-1, -2]
    any_ = RNG.integers(info.min, info.max, n, dtype=dtype, endpoint=True)
    small = any_ >> dtype.type(info.bits - 8)
    return RNG.permutation(np.concatenate([any_, small, np.array(some * 20, dtype)]))


@pytest.mark.parametrize("dtype", [U32, S32, U64, S64])
def test_whole_numbers(dtype):
    a, b = whole(500, dtype), whole(500, dtype)
    bits = 8 * dtype.itemsize
    with np.errstate(all="ignore"):
        high, quotient = numbers.high(a, b), numbers.divide(a, b)
    for x, y, h, q in zip(
        map(int, a), map(int, b), map(int, high), map(int, quotient), strict=True
    ):
        assert h == (x * y) >> bits
        if y and not (y == -1 and x == np.iinfo(dtype).min):
            assert q == (
                abs(x) // abs(y) if (x < 0) == (y < 0) else -(abs(x) // abs(y))
            )
    n = RNG.integers(0, 80, len(a)).astype(U32)
    for x, k, right in zip(
        map(int, a), map(int, n), map(int, numbers.shift(a, n, False)), strict=True
    ):
        assert right == x >> k
    u = a.view(f"u{dtype.itemsize}")
    for x, k, left in zip(
        map(int, u), map(int, n), map(int, numbers.shift(u, n, True)), strict=True
    ):
        assert left == (x << k) % 2**bits


def test_bits():
    for dtype in (U32, U64):
        a, b, bits = whole(200, dtype), whole(200, dtype), 8 * dtype.itemsize
        for x, r in zip(map(int, a), map(int, numbers.reverse(a)), strict=True):
            assert r == int(f"{x:0{bits}b}"[::-1], 2)
        for place, length in (
            (0, 8),
            (32, 32),
            (5, 60),
            (31, 1),
            (0, bits),
            (7, 0),
            (63, 5),
        ):
            mask = ((1 << length) - 1) << place & (2**bits - 1)
            found = numbers.insert(
                a, b, np.array([place], U32), np.array([length], U32)
            )
            for x, y, r in zip(map(int, a), map(int, b), map(int, found), strict=True):
                assert r == (y & ~mask) | (x << place & mask)
    a = whole(200, U32)
    for x, r in zip(map(int, a), map(int, numbers.leading(a)), strict=True):
        assert r == (32 - x.bit_length() if x else 2**32 - 1)


CONVERSIONS = [
    (F32, S32, "rni", [0.5, 1.5, 2.5, -0.5, -1.5], [0, 2, 2, 0, -2]),
    (F32, S32, "rni", [3e9, -3e9, 1e20, np.nan], [2**31 - 1, -(2**31), 2**31 - 1, 0]),
    (F32, S32, "rzi", [0.5, 1.5, 2.5, -0.5, -1.5], [0, 1, 2, 0, -1]),
    (F32, S64, "rzi", [3e9, -3e9], [3000000000, -3000000000]),
    (F32, S64, "rzi", [np.inf, -np.inf, np.nan], [2**63 - 1, -(2**63), -(2**63)]),
    (F32, U32, "rzi", [-1.5, 3e9, 1e20, np.nan], [0, 3000000000, 2**32 - 1, 0]),
    (S64, F16, "rn", [65519, 65520, 2049, 2051], [65504, np.inf, 2048, 2052]),
    (S64, F32, "rn", [2**24 + 1, -(2**24) - 3], [2**24, -(2**24) - 4]),
    (S64, F32, "rn", [2**62 + 2**38 + 1], [2**62 + 2**39]),
]


@pytest.mark.parametrize("source, to, rounding, given, wanted", CONVERSIONS)
def test_conversions(source, to, rounding, given, wanted):
    with np.errstate(all="ignore"):
        found = numbers.convert(np.array(given, source), to, rounding, False)
    assert found.dtype == to and found.tolist() == wanted


SATURATED = [
    (F32, F32, [-1.5, -0.5, 0, 0.25, 1, 7, np.nan], [0, 0, 0, 0.25, 1, 1, 0]),
    (S32, S8, [300, -300, 5], [127, -128, 5]),
    (S32, U32, [300, -300, 5], [300, 0, 5]),
]


@pytest.mark.parametrize("source, to, given, wanted", SATURATED)
def test_conversions_that_saturate(source, to, given, wanted):
    with np.errstate(all="ignore"):
        assert (
            numbers.convert(np.array(given, source), to, None, True).tolist() == wanted
        )


def test_smallest_and_largest():
    zeros, nan = np.array([0.0, -0.0], F32), np.full(2, np.nan, F32)
    assert np.signbit(numbers.smallest(zeros, zeros[::-1])).all()
    assert not np.signbit(numbers.largest(zeros, zeros[::-1])).any()
    assert (numbers.smallest(nan, np.ones(2, F32)) == 1).all() and np.isnan(
        numbers.largest(nan, nan)
    ).all()
