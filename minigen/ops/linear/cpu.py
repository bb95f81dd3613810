"""y = x W^T + bias: see `cpu/products.py`, and as loops `cpu_plain.py`."""

from __future__ import annotations

from minigen.cpu.products import product


def linear(x, w, bias=None, residual=None):
    """(b ... d), (f d), (f)?, (b ... f)? -> (b ... f)

    Return y[b, n, f] = sum over d of x[b, n, d] w[f, d], plus bias and residual.

    x and residual are float32; w and bias are float32, float16 or bfloat16.
    """
    return product(x, w, residual, bias)
