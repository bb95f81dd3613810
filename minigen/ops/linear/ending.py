"""How a product ends on a GPU: what is added to a sum before it is stored."""

from __future__ import annotations

from minigen.ops.intrinsics import widen
from minigen.target import gpu_inline


@gpu_inline
def finish(total, i, j, bias, biased, residual, added):
    """Return residual[i, j] + (total + bias[j]), or as much of it as there is.

    bias (f) and residual (n f) are not read where biased or added is 0: the
    launcher had none, and handed over some array, for a kernel takes nothing else.
    """
    if biased:
        total += widen(bias[j])
    if added:
        total = residual[i, j] + total
    return total
