"""Functions of one number, for use inside of kernels.

Each consists of plain arithmetic in a stated order, with its fused steps spelled out:
so it has the same bits on every processor, and in a vector of any width.
"""

from __future__ import annotations

import math

import numpy as np
from numba import types
from numba.extending import intrinsic

from minigen.target import inline, serial


@intrinsic
def fma(context, a, b, c):
    """fma(a, b, c) returns a b + c, float32, rounded once."""

    def build(context, builder, signature, args):
        return builder.fma(*args)

    return types.float32(types.float32, types.float32, types.float32), build


@serial
def exp(x):
    """Return e^x in float32, within 2 units in the last place for x in [-87, 88].

    Below, the result is 0 (also at -inf); above 88 it is inf. The power splits as
    e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2; e^r is a polynomial of
    degree 6, and 2^n is an exponent put together from bits. Unlike `math.exp` it
    consists of plain arithmetic, so that a compiler can run sixteen of them at once.

    Source: the reduction with ln 2 in two parts, Cody and Waite (1980), chapter 6;
    the coefficients are those of Cephes expf.
    """
    low, high = np.float32(-87.0), np.float32(88.0)
    inside = min(max(x, low), high)
    n = np.floor(fma(inside, np.float32(1.44269504), np.float32(0.5)))
    r = fma(n, np.float32(-0.693359375), inside)
    r = fma(n, np.float32(2.12194440e-4), r)
    p = fma(r, np.float32(1.9875691500e-4), np.float32(1.3981999507e-3))
    p = fma(p, r, np.float32(8.3334519073e-3))
    p = fma(p, r, np.float32(4.1665795894e-2))
    p = fma(p, r, np.float32(1.6666665459e-1))
    p = fma(p, r, np.float32(0.5))
    p = fma(p * r, r, r) + np.float32(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    result = p * power.view(np.float32)
    if x < low:
        return np.float32(0)
    return np.float32(np.inf) if x > high else result


@serial
def silu(x):
    """Return x sigmoid(x) in float32, by exp(-|x|), which cannot overflow."""
    small = exp(-abs(x))
    above = small if x < np.float32(0) else np.float32(1)
    return x * (above / (np.float32(1) + small))


@serial
def softplus(x):
    """Return log(1 + e^x): above 20 that is x in float32."""
    return x if x > np.float32(20) else np.float32(math.log1p(exp(x)))


# too large for LLVM to put it into a loop, without which the loop has no vectors
@inline
def erf(x):
    """Return erf(x) in float32, within 2 units in the last place.

    Near zero it is x plus x times a polynomial of x^2; beyond 0.93 it is 1 - e^-p with
    a polynomial p of |x|. Both are plain arithmetic and both are computed: so a
    compiler can run sixteen of them at once.

    Source: the coefficients are Norbert Juffa's (a minimax fit, public domain).
    """
    a = min(abs(x), np.float32(9))
    s = a * a
    p = fma(a, np.float32(-1.72853470e-5), np.float32(3.83197126e-4))
    q = fma(a, np.float32(-3.88396438e-3), np.float32(2.42546219e-2))
    p = fma(p, s, q)
    p = fma(p, a, np.float32(-1.06777877e-1))
    p = fma(p, a, np.float32(-6.34846687e-1))
    p = fma(p, a, np.float32(-1.28717512e-1))
    far = np.float32(1) - exp(fma(p, a, -a))
    r = fma(s, np.float32(-5.96761703e-4), np.float32(4.99119423e-3))
    r = fma(r, s, np.float32(-2.67681349e-2))
    r = fma(r, s, np.float32(1.12819925e-1))
    r = fma(r, s, np.float32(-3.76125336e-1))
    r = fma(r, s, np.float32(1.28379166e-1))
    near = fma(r, a, a)
    size = far if a > np.float32(0.927734375) else near
    return -size if x < np.float32(0) else size


@inline
def gelu(x):
    """Return x (1 + erf(x / sqrt(2))) / 2 in float32."""
    return np.float32(0.5) * x * (np.float32(1) + erf(x * np.float32(0.70710678)))


@serial
def gelu_tanh(x):
    """Return GELU with tanh: x sigmoid(2u), as (1 + tanh(u)) / 2 = sigmoid(2u)."""
    cubic = x + np.float32(0.044715) * (x * x * x)
    twice = np.float32(1.5957691216) * cubic
    small = exp(-abs(twice))
    above = small if twice < np.float32(0) else np.float32(1)
    return x * (above / (np.float32(1) + small))
