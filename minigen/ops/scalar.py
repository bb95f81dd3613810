"""Functions of one number, for use inside of kernels."""

from __future__ import annotations

import math

import numpy as np

from minigen.target import exact


def exp_scalar(x):
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
    n = np.floor(inside * np.float32(1.44269504) + np.float32(0.5))
    r = inside - n * np.float32(0.693359375)
    r = r - n * np.float32(-2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(0.5)
    p = p * r * r + r + np.float32(1)
    power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23))
    result = p * power.view(np.float32)
    if x < low:
        return np.float32(0)
    return np.float32(np.inf) if x > high else result


exp = exact(exp_scalar)


def silu_scalar(x):
    """Return x sigmoid(x) in float32, by exp(-|x|), which cannot overflow."""
    small = exp(-abs(x))
    above = small if x < np.float32(0) else np.float32(1)
    return x * (above / (np.float32(1) + small))


silu = exact(silu_scalar)


@exact
def softplus(x):
    """Return log(1 + e^x): above 20 that is x in float32."""
    return x if x > np.float32(20) else np.float32(math.log1p(exp(x)))
