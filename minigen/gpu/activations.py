"""Functions of one number that several CUDA kernels share."""

from __future__ import annotations

import math

import numpy as np

from minigen.target import gpu_inline


@gpu_inline
def silu(v):
    """Return v sigmoid(v). The power is at most 1, so it cannot overflow."""
    small = math.exp(-abs(v))
    share = small if v < np.float32(0) else np.float32(1)
    return v * (share / (np.float32(1) + small))


@gpu_inline
def clip(v, lowest, highest):
    """Return v within limits. A NaN stays one: CUDA's min and max take the other."""
    raised = lowest if v < lowest else v
    return highest if raised > highest else raised


@gpu_inline
def softplus(v):
    """Return log(1 + e^v): above 20 that is v in float32, and e^v could overflow."""
    return v if v > np.float32(20) else math.log1p(math.exp(v))
