"""RMSNorm: divide by the root mean square, multiply by a learned weight.

Source: Zhang and Sennrich, arXiv 1910.07467, equation 4; hp-l33/ARPG models/arpg.py
::RMSNorm (eps inside the root).
"""

from __future__ import annotations

import numpy as np


def rms_norm(x, w, eps):
    """(b n d), (d) -> (b n d)
    where w is a weight

    Return w * x / sqrt(mean(x^2) + eps), the mean over the last axis.

    >>> rms_norm(np.array([[[3.0, 4.0]]]), np.array([1.0, 2.0]), 0.0).round(3).tolist()
    [[[0.849, 2.263]]]
    """
    mean = np.mean(x * x, axis=-1, keepdims=True)
    return w.astype(x.dtype) * (x / np.sqrt(mean + x.dtype.type(eps)))
