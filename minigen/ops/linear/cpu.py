"""y = x W^T: see `ops/products.py`."""

from __future__ import annotations

from minigen.ops.products import product


def linear(x, w):
    # (b n d), (f d) -> (b n f)
    """Return y[b, n, f] = sum over d of x[b, n, d] w[f, d].

    x is float32; w is float32, float16 or bfloat16.
    """
    return product(x, w)


def linear_add(x, w, residual):
    # (b n d), (f d), (b n f) -> (b n f)
    """Return residual + linear(x, w) as a new array."""
    return product(x, w, residual)
